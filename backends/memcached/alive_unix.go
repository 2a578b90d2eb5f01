//go:build unix

package memcached

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// alive reports whether an idle connection can still be used: the peer has neither closed it nor
// sent anything. It costs one system call that does not wait. What cannot be asked counts as
// alive. The deadline of the last call is still on conn and may have passed meanwhile, which says
// nothing about the peer; it is taken off, and whoever uses conn next sets another.
func alive(conn net.Conn) bool {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	conn.SetReadDeadline(time.Time{})
	ok = false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, err := syscall.Read(int(fd), b[:])
		ok = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
		return true
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true // the call was cut short just now, and has not asked
	}
	return ok && err == nil
}
