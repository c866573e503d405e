// Command wrapped_v1 hides the call behind a method and an interface.
package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

type caps interface{ load() error }

type v1 struct {
	header unix.CapUserHeader
	data   [2]unix.CapUserData
}

func newV1() *v1 {
	return &v1{header: unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_1}}
}

//go:noinline
func (c *v1) load() error { return unix.Capget(&c.header, &c.data[0]) }

func main() {
	var c caps = newV1()
	if len(os.Args) > 1 {
		c = nil
	}
	fmt.Println(c.load())
}
