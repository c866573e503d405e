#include "common.h"
extern int capset(cap_user_header_t,const cap_user_data_t);
int main(void){ hdr_t h={_LINUX_CAPABILITY_VERSION_2,0}; data_t d[2]={{0}}; return capset(&h,d); }
