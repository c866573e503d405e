#include "common.h"
static hdr_t *gh; static hdr_t store;
__attribute__((noinline)) void init(void){ store.version=V1; gh=&store; }
__attribute__((noinline)) int go(void){ data_t d={0}; return syscall(SYS_capset,gh,&d); }
int main(int c,char**v){ init(); return go(); }
