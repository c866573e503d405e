#include "common.h"
__attribute__((noinline)) hdr_t mk(int pid){ hdr_t h={V1,pid}; return h; }
int main(){ hdr_t h=mk(getpid()); data_t d[2]={{0}}; return syscall(SYS_capget,&h,d); }
