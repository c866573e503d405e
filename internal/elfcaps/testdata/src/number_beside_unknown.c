#include "common.h"
/* One call is plain, of the other neither the number nor the header. */
static void a(void){ hdr_t h={V3,0}; data_t d[2]={{0}}; syscall(SYS_capget,&h,d); }
hdr_t hs[3]={{V1,0},{V1,1},{V1,2}};
int main(int c,char**v){ data_t d[2]={{0}}; a(); return syscall(atoi(v[1]),&hs[c%3],d); }
