#include "common.h"
int main(int c,char**v){ hdr_t h; data_t d[2]; memset(&h,0,sizeof h); memset(d,0,sizeof d);
 for(int o; (o=getopt(c,v,"abcdefg"))!=-1;) switch(o){ case 'a': puts("a"); break; case 'b': puts("b1"); break; case 'c': h.version=V1; if(syscall(SYS_capget,&h,d)) return 1; break; case 'd': puts("dd"); break; case 'e': puts("e3"); break; case 'f': puts("ff4"); return 3; case 'g': puts("g"); break; }
 return 0; }
