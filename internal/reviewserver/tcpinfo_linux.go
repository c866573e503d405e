package reviewserver

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sinceLastData returns the time since the kernel last sent and last received
// data on a connection, in steps of a few milliseconds; known is false if conn is
// closed or is not TCP. Source: TCP_INFO in tcp(7).
func sinceLastData(conn net.Conn) (sent, received time.Duration, known bool) {
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
			known = true
		}
	})
	if err != nil { // closed
		return 0, 0, false
	}
	return sent, received, known
}
