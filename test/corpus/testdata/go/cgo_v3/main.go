// Command cgo_v3 makes the call in C, twice with other calls between, beside the
// one that Go's own package for processes has.
package main

/*
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static int twice(void) {
	struct { uint32_t version; int pid; } header = {0x20080522, 0};
	struct { uint32_t effective, permitted, inheritable; } data[2] = {{0}};
	for (int i = 0; i < 2; i++) {
		if (syscall(SYS_capget, &header, data) != 0)
			perror("capget");
		header.pid = getppid();
	}
	return data[0].effective;
}
*/
import "C"

import (
	"fmt"
	"os"
	"os/exec"
)

func main() {
	fmt.Println(C.twice(), exec.Command(os.Args[1]).Run())
}
