package admission

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// silence returns how long ago the kernel sent and received what came last over a
// connection; false if it cannot be told. It counts in ticks of some milliseconds.
// See TCP_INFO in tcp(7).
func silence(conn net.Conn) (sent, received time.Duration, told bool) {
	tcp, ok := conn.(syscall.Conn)
	if !ok {
		return 0, 0, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	err = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			sent = time.Duration(info.Last_data_sent) * time.Millisecond
			received = time.Duration(info.Last_data_recv) * time.Millisecond
			told = true
		}
	})
	if err != nil { // closed
		return 0, 0, false
	}
	return sent, received, told
}
