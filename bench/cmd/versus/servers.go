package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hearthcache/hearth/internal/servers"
)

// delayEnv makes this program a proxy in front of an address, for a process of its own: the delay
// must not take part in the client's figures.
const delayEnv = "HEARTH_VERSUS_DELAY"

// machines are the servers that are measured against.
type machines struct {
	redis, memcached *servers.Server
	far              map[string]string // by name: the address behind the delay
	ends             []func()
}

func start() (m *machines, err error) {
	m = &machines{far: map[string]string{}}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	if m.redis, err = servers.StartRedis(servers.Options{MustBeReal: true}); err != nil {
		return nil, err
	}
	m.ends = append(m.ends, func() { _ = m.redis.Close() })
	if m.memcached, err = servers.StartMemcached(servers.Options{MustBeReal: true, Args: []string{"-t", "4", "-m", "256"}}); err != nil {
		return nil, err
	}
	m.ends = append(m.ends, func() { _ = m.memcached.Close() })
	for name, s := range map[string]*servers.Server{"redis": m.redis, "memcached": m.memcached} {
		if m.far[name], err = m.delay(s.Addr()); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *machines) close() {
	for _, end := range m.ends {
		end()
	}
}

// delay starts a proxy and returns its address.
func (m *machines) delay(target string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), delayEnv+"="+target)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	m.ends = append(m.ends, func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	addr, err := bufio.NewReader(out).ReadString('\n')
	return strings.TrimSpace(addr), err
}

// used is the processor time that a process has used, all threads.
func used(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, errors.Join(err, errors.New("no schedstat"))
	}
	var sum time.Duration
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // the thread is gone
		}
		first, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n)
	}
	return sum, nil
}

// memcachedVersion asks a server what it is.
func memcachedVersion(addr string) string {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return "unknown"
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(c, "version\r\n"); err != nil {
		return "unknown"
	}
	line, _ := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(strings.TrimPrefix(line, "VERSION "))
}
