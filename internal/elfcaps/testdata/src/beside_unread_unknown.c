#include "common.h"
/* One call is plain, the number of the other is not in the file. */
static void a(void){ hdr_t h={V3,0}; data_t d[2]={{0}}; syscall(SYS_capget,&h,d); }
int main(int c,char**v){ hdr_t h={V1,0}; data_t d[2]={{0}}; a(); return syscall(atoi(v[1]),&h,d); }
