#include "common.h"
static __thread hdr_t h; static __thread int before=1;
__attribute__((noinline)) static void fill(int pid){ h.version=V1; h.pid=pid; }
__attribute__((noinline)) static int pass(data_t*d){ return syscall(SYS_capget,&h,d); }
int main(int c,char**v){ data_t d={0}; fill(c); return pass(&d)+before; }
