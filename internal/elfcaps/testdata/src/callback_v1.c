#include "common.h"
__attribute__((noinline)) static int cb(const void*a,const void*b){ hdr_t h={V1,*(int*)a}; data_t d[2]={{0}}; return syscall(SYS_capget,&h,d); }
int main(int c,char**v){ int x[4]={1,2,3,4}; qsort(x,4,sizeof *x,cb); return x[0]; }
