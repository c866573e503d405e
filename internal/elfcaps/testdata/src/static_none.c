#include "common.h"
int main(void){ puts("nothing here"); return getpid(); }
