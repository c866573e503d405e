#include "common.h"
struct ctx { int a; hdr_t h; data_t d[2]; };
__attribute__((noinline)) int get(struct ctx*c){ return syscall(SYS_capget,&c->h,c->d); }
int main(){ struct ctx c; memset(&c,0,sizeof c); c.h.version=V3; return get(&c); }
