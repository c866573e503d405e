package admission

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sinceReceived returns how long ago the kernel received what came last over a
// connection; zero if it cannot be told. See TCP_INFO in tcp(7).
func sinceReceived(connection net.Conn) time.Duration {
	tcp, ok := connection.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0
	}
	var since time.Duration
	err = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			since = time.Duration(info.Last_data_recv) * time.Millisecond
		}
	})
	if err != nil { // closed
		return 0
	}
	return since
}
