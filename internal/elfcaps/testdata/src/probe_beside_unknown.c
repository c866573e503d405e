#include "common.h"
/* One part asks the kernel first, another has a header that is not read. */
static int ask(void){ hdr_t h={0,0}; data_t d[2]={{0}}; syscall(SYS_capget,&h,0); return syscall(SYS_capget,&h,d); }
hdr_t hs[3]={{V1,0},{V1,1},{V1,2}};
int main(int c,char**v){ data_t d[2]={{0}}; return ask()+syscall(SYS_capset,&hs[c%3],d); }
