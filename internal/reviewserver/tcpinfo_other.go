//go:build !linux

package reviewserver

import (
	"net"
	"time"
)

// sinceLastData is implemented for Linux only.
func sinceLastData(net.Conn) (sent, received time.Duration, known bool) { return 0, 0, false }
