#include "common.h"
/* Versions that no kernel knows, as bytes, to learn which one it prefers. */
static const uint8_t vs[4]={3,2,1,0};
int main(int c,char**v){ hdr_t h={vs[c&3],0}; data_t d[2]={{0}}; syscall(SYS_capget,&h,0); return syscall(SYS_capget,&h,d); }
