#include "common.h"
static __thread hdr_t h={V1,0};
int main(void){ data_t d={0}; return syscall(SYS_capget,&h,&d); }
