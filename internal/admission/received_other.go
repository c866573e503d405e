//go:build !linux

package admission

import (
	"net"
	"time"
)

// sinceReceived returns how long ago the kernel received what came last over a
// connection: only Linux's is asked.
func sinceReceived(net.Conn) time.Duration { return 0 }
