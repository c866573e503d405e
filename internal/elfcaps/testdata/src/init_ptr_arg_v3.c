#include "common.h"
struct st { hdr_t *h; data_t *d; };
__attribute__((noinline)) int go(struct st*s){ return syscall(SYS_capset,s->h,s->d); }
int main(){ hdr_t h={V3,0}; data_t d[2]={{0}}; struct st s={&h,d}; return go(&s); }
