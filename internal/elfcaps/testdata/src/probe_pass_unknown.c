#include "common.h"
/* The header comes from outside, whether or not there are data beside it. */
int main(int c,char**v){ hdr_t h; data_t d[2]={{0}}; if(read(0,&h,sizeof h)!=sizeof h) return 1; if(c>1) return syscall(SYS_capget,&h,0); return syscall(SYS_capset,&h,d); }
