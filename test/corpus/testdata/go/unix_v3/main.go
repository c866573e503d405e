// Command unix_v3 calls through golang.org/x/sys/unix.
package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func main() {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		panic(err)
	}
	data[0].Inheritable = 0
	fmt.Println(data, unix.Capset(&header, &data[0]))
}
