// Command unix_v1 is given the process that it asks about.
package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func effective(pid int) (uint32, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_1, Pid: int32(pid)}
	var data unix.CapUserData
	err := unix.Capget(&header, &data)
	return data.Effective, err
}

func main() {
	for _, arg := range os.Args[1:] {
		pid, err := strconv.Atoi(arg)
		if err != nil {
			panic(err)
		}
		fmt.Println(effective(pid))
	}
}
