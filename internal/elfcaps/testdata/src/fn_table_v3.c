#include "common.h"
static int a(void){ hdr_t h={V3,0}; data_t d[2]={{0}}; return syscall(SYS_capget,&h,d); }
static int b(void){ return 2; }
int (*volatile ops[])(void)={a,b};
int main(int c,char**v){ return ops[c&1](); }
