#include "common.h"
__attribute__((noinline)) hdr_t *newh(void){ hdr_t*h=calloc(1,sizeof*h); if(!h) abort(); h->version=V1; return h; }
int main(int c,char**v){ hdr_t*h=newh(); data_t d={0}; int r=syscall(SYS_capget,h,&d); free(h); return r; }
