// Command threads_v1 sets the capabilities of all its threads, as programs do
// that drop what they were started with.
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

func main() {
	h := header{version: 0x19980330}
	var data [3]uint32
	_, _, errno := syscall.AllThreadsSyscall(syscall.SYS_CAPSET, uintptr(unsafe.Pointer(&h)), uintptr(unsafe.Pointer(&data)), 0)
	fmt.Println(errno)
}
