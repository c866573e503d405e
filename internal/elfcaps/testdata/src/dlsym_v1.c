#include "common.h"
#include <dlfcn.h>
int main(void){ hdr_t h={V1,0}; data_t d={0}; int (*f)(hdr_t*,data_t*)=(void*)dlsym(RTLD_DEFAULT,"capset"); return f(&h,&d); }
