package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
)

// oneWay is half of the half millisecond that is added to a round trip.
const oneWay = 250 * time.Microsecond

// packet is bytes that wait for their time.
type packet struct {
	due  time.Time
	to   *net.TCPConn
	data []byte // nil: close
}

// delayed is the proxy's process; it ends with its parent. What comes in is written out 250 us
// later, in order, by two threads that sleep by the kernel's clock: the timers of the runtime are
// up to a millisecond late when there is nothing else to do.
func delayed(target string) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fail(err)
	}
	up, down := make(chan packet, 1<<16), make(chan packet, 1<<16)
	go release(up)
	go release(down)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", target)
			if err != nil {
				_ = c.Close()
				continue
			}
			go carry(c.(*net.TCPConn), s.(*net.TCPConn), up)
			go carry(s.(*net.TCPConn), c.(*net.TCPConn), down)
		}
	}()
	fmt.Println(l.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// carry gives what it reads its time.
func carry(from, to *net.TCPConn, line chan<- packet) {
	for {
		buf := make([]byte, 16<<10)
		n, err := from.Read(buf)
		if n > 0 {
			line <- packet{time.Now().Add(oneWay), to, buf[:n]}
		}
		if err != nil {
			line <- packet{time.Now().Add(oneWay), to, nil}
			return
		}
	}
}

// release writes what is due. All wait equally long, so they are due in the order they came.
func release(line <-chan packet) {
	runtime.LockOSThread()
	for p := range line {
		if d := time.Until(p.due); d > 0 {
			t := syscall.NsecToTimespec(int64(d))
			_ = syscall.Nanosleep(&t, nil)
		}
		if p.data == nil {
			_ = p.to.CloseWrite()
			continue
		}
		_, _ = p.to.Write(p.data)
	}
}
