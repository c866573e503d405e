#include "common.h"
int main(int c,char**v){ hdr_t h; data_t d[2]={{0}}; if(read(0,&h,sizeof h)!=sizeof h) return 1; return syscall(SYS_capget,&h,d); }
