// Command raw_v3 makes the system calls itself.
package main

import (
	"fmt"
	"syscall"
	"unsafe"
)

type header struct {
	version uint32
	pid     int32
}

var current = header{version: 0x20080522}

func main() {
	var data [6]uint32
	_, _, errno := syscall.RawSyscall(syscall.SYS_CAPGET, uintptr(unsafe.Pointer(&current)), uintptr(unsafe.Pointer(&data)), 0)
	fmt.Println(errno, data)
}
