#include "common.h"
static long sc(long n,long a,long b){
#ifdef __aarch64__
 register long x8 asm("x8")=n; register long x0 asm("x0")=a; register long x1 asm("x1")=b; asm volatile("svc 0":"+r"(x0):"r"(x8),"r"(x1):"memory"); return x0;
#else
 long r; asm volatile("syscall":"=a"(r):"a"(n),"D"(a),"S"(b):"rcx","r11","memory"); return r;
#endif
}
int main(){ hdr_t h={V1,0}; data_t d[2]={{0}}; return sc(SYS_capget,(long)&h,(long)d); }
