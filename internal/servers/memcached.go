package servers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// StartMemcached starts a memcached without UDP, or the embedded stand-in where
// none is installed. It returns once the server answers.
func StartMemcached(o Options) (*Server, error) {
	binary, err := find(o, "memcached")
	if err != nil {
		return nil, err
	}
	if binary == "" {
		return launch(Embedded, nothing, func() engine { return &embeddedMemcached{} })
	}
	dir, tidy, err := workdir(o)
	if err != nil {
		return nil, err
	}
	return launch(Real, tidy, func() engine {
		return &process{
			binary: binary,
			dir:    dir,
			orphan: o.orphan,
			args:   func(addr string) []string { return memcachedArgs(addr, o.Args) },
			ready:  memcachedReady,
		}
	})
}

func memcachedArgs(addr string, extra []string) []string {
	args := []string{"-l", "127.0.0.1", "-p", port(addr), "-U", "0", "-t", "2"}
	if os.Getuid() == 0 {
		args = append(args, "-u", "root") // it refuses to run as root unasked
	}
	return append(args, extra...)
}

// memcachedReady returns nil once the memcached with this process id answers.
func memcachedReady(addr string, pid int) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "stats\r\n"); err != nil {
		return err
	}
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimSpace(line)
		if v, ok := strings.CutPrefix(line, "STAT pid "); ok {
			if v != strconv.Itoa(pid) {
				return errors.New("another server answers on the port")
			}
			return nil
		}
		if strings.HasPrefix(line, "CLIENT_ERROR unauthenticated") {
			return nil // -Y: it answers, and says no more
		}
		if !strings.HasPrefix(line, "STAT ") {
			return fmt.Errorf("answered %q", line)
		}
	}
}
