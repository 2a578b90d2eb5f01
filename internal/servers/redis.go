package servers

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// StartRedis starts a Redis that keeps nothing on disk and allows DEBUG, or the
// embedded stand-in where no Redis is installed. It returns once the server
// answers.
func StartRedis(o Options) (*Server, error) {
	binary, err := find(o, "redis-server", "valkey-server")
	if err != nil {
		return nil, err
	}
	if binary == "" {
		password := flagValue(o.Args, "--requirepass")
		return launch(Embedded, nothing, func() engine {
			return &embeddedRedis{password: password}
		})
	}
	dir, tidy, err := workdir(o)
	if err != nil {
		return nil, err
	}
	return launch(Real, tidy, func() engine { return redisProcess(binary, dir, o) })
}

func redisProcess(binary, dir string, o Options) *process {
	return &process{
		binary: binary,
		dir:    dir,
		orphan: o.orphan,
		args: func(addr string) []string {
			return append([]string{
				"--bind", "127.0.0.1", "--port", port(addr), "--dir", dir,
				"--save", "", "--appendonly", "no",
				"--enable-debug-command", "yes",
				"--shutdown-timeout", "0", // Stop does not wait for slow replicas
				"--daemonize", "no",
			}, o.Args...)
		},
		ready: func(addr string, pid int) error {
			return redisReady(addr, pid, flagValue(o.Args, "--requirepass"))
		},
	}
}

// redisReady returns nil once the Redis with this process id answers commands.
func redisReady(addr string, pid int, password string) error {
	c, err := dialRESP(addr, time.Second)
	if err != nil {
		return err
	}
	defer c.close()
	if password != "" {
		if _, err := c.do("AUTH", password); err != nil {
			return err
		}
	}
	info, err := c.text("INFO", "server")
	if err != nil {
		if strings.HasPrefix(err.Error(), "NOAUTH") || strings.HasPrefix(err.Error(), "NOPERM") {
			return nil // users come from a file: it answers, and says no more
		}
		return err
	}
	if infoField(info, "process_id") != strconv.Itoa(pid) {
		return errors.New("another server answers on the port")
	}
	_, err = c.do("PING") // LOADING while a file is read
	return err
}

// find returns the program, or "" where the stand-in is to be used.
func find(o Options, names ...string) (string, error) {
	if o.Embedded && o.MustBeReal {
		return "", errors.New("servers: Embedded and MustBeReal exclude each other")
	}
	if o.Embedded {
		return "", nil
	}
	if o.Binary != "" {
		names = []string{o.Binary}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	if o.MustBeReal || o.Binary != "" {
		return "", fmt.Errorf("%w: %s", ErrNotInstalled, strings.Join(names, " or "))
	}
	return "", nil
}

// flagValue returns the argument behind the last flag of this name, or "".
func flagValue(args []string, flag string) string {
	value := ""
	for i := range args {
		if args[i] == flag && i+1 < len(args) {
			value = args[i+1]
		}
	}
	return value
}

func port(addr string) string {
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return p
}

func nothing() error { return nil }
