#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <linux/capability.h>
typedef struct __user_cap_header_struct hdr_t; typedef struct __user_cap_data_struct data_t;
#define V1 _LINUX_CAPABILITY_VERSION_1
#define V3 _LINUX_CAPABILITY_VERSION_3
