#include "common.h"
__attribute__((noinline)) int low(int n,hdr_t*h,data_t*d){ return syscall(n,h,d); }
__attribute__((noinline)) int mid(int set,hdr_t*h,data_t*d){ return low(set?SYS_capset:SYS_capget,h,d); }
int main(int c,char**v){ hdr_t h={V1,getpid()}; data_t d[2]={{0}}; return mid(c>1,&h,d); }
