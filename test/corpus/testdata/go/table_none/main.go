// Command table_none knows the constants and the numbers, and calls nothing.
package main

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

var versions = map[string]uint32{"v1": unix.LINUX_CAPABILITY_VERSION_1, "v3": unix.LINUX_CAPABILITY_VERSION_3}

func main() {
	for _, name := range os.Args {
		fmt.Println(name, versions[name], syscall.SYS_CAPGET, syscall.SYS_CAPSET, name == "capset")
	}
}
