#include "common.h"
#include <dlfcn.h>
/* The function that dlsym finds is kept where it cannot be followed. */
int (*volatile f[4])(hdr_t*,data_t*);
hdr_t h={V1,0};
int main(int c,char**v){ data_t d={0}; f[c&3]=(void*)dlsym(RTLD_DEFAULT,"capset"); return f[1](&h,&d); }
