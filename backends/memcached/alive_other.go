//go:build !unix

package memcached

import "net"

// alive cannot ask here, and says yes.
func alive(net.Conn) bool { return true }
