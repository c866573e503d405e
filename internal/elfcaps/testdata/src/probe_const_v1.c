#include "common.h"
int main(){ hdr_t h={V1,0}; return syscall(SYS_capget,&h,0); }
