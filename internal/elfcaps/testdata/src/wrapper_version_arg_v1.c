#include "common.h"
__attribute__((noinline)) int doset(uint32_t ver,uint32_t eff){ hdr_t h={ver,0}; data_t d[2]={{eff}}; return syscall(SYS_capset,&h,d); }
__attribute__((noinline)) int outer(uint32_t ver){ return doset(ver,1)+doset(ver,2); }
int main(int c,char**v){ return outer(V1); }
