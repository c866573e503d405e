#include "common.h"
/* A library named as libcap is, that passes a legacy header. */
int cap_drop_all(void){ hdr_t h={V1,0}; data_t d={0}; return syscall(SYS_capset,&h,&d); }
