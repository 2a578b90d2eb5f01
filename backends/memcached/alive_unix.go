//go:build unix

package memcached

import (
	"net"
	"syscall"
)

// alive reports whether an idle connection can still be used: the peer has neither closed it nor
// sent anything. It costs one system call that does not wait. What cannot be asked counts as
// alive.
func alive(conn net.Conn) bool {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	ok = false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, err := syscall.Read(int(fd), b[:])
		ok = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
		return true
	})
	return ok && err == nil
}
