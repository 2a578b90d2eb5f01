package servers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Sentinel is a master, a replica and one Redis Sentinel that watches them and
// makes the replica the master when the master dies.
type Sentinel struct {
	Name    string // the name of the master, for sentinel clients
	Master  *Server
	Replica *Server
	Watcher *Server // the Sentinel itself
}

// downAfter is how long the master must be silent before it is replaced.
const downAfter = 500 * time.Millisecond

// StartSentinel starts the three and returns once the replica is in step with
// the master and the Sentinel knows both. There is no stand-in: without Redis it
// returns [ErrNotInstalled].
func StartSentinel(o Options) (*Sentinel, error) {
	o.MustBeReal = true
	s := &Sentinel{Name: "hearth"}
	if err := s.assemble(o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close kills all three.
func (s *Sentinel) Close() error {
	var errs []error
	for _, srv := range []*Server{s.Watcher, s.Replica, s.Master} {
		if srv != nil {
			errs = append(errs, srv.Close())
		}
	}
	return errors.Join(errs...)
}

func (s *Sentinel) assemble(o Options) error {
	var err error
	if s.Master, err = StartRedis(o); err != nil {
		return err
	}
	follower := o
	follower.Args = append([]string{"--replicaof", "127.0.0.1 " + port(s.Master.Addr())}, o.Args...)
	if s.Replica, err = StartRedis(follower); err != nil {
		return err
	}
	if err := await(func() error { return linked(s.Replica.Addr()) }); err != nil {
		return err
	}
	if s.Watcher, err = startWatcher(o, s.Name, port(s.Master.Addr())); err != nil {
		return err
	}
	return await(func() error { return knowsReplica(s.Watcher.Addr()) })
}

// startWatcher starts a Sentinel, which wants a file to write its findings to.
func startWatcher(o Options, name, masterPort string) (*Server, error) {
	binary, err := find(o, "redis-server", "valkey-server")
	if err != nil {
		return nil, err
	}
	dir, tidy, err := workdir(Options{})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "sentinel.conf")
	text := fmt.Sprintf("bind 127.0.0.1\nsentinel monitor %[1]s 127.0.0.1 %[2]s 1\n"+
		"sentinel down-after-milliseconds %[1]s %[3]d\nsentinel failover-timeout %[1]s 3000\n",
		name, masterPort, downAfter.Milliseconds())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("servers: %w", err), tidy())
	}
	return launch(Real, tidy, func() engine {
		return &process{
			binary: binary,
			dir:    dir,
			orphan: o.orphan,
			args:   func(addr string) []string { return []string{file, "--sentinel", "--port", port(addr)} },
			ready:  func(addr string, pid int) error { return redisReady(addr, pid, "") },
		}
	})
}

// linked returns nil once a replica is in step with its master.
func linked(addr string) error {
	conn, err := dialRESP(addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.close()
	info, err := conn.text("INFO", "replication")
	if err != nil {
		return err
	}
	if got := infoField(info, "master_link_status"); got != "up" {
		return fmt.Errorf("servers: the replica at %s has its link %q", addr, got)
	}
	return nil
}

// knowsReplica returns nil once a Sentinel has found the replica.
func knowsReplica(addr string) error {
	conn, err := dialRESP(addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.close()
	info, err := conn.text("INFO", "sentinel")
	if err != nil {
		return err
	}
	if !strings.Contains(info, "status=ok") || !strings.Contains(info, "slaves=1") {
		return fmt.Errorf("servers: the Sentinel at %s: %s", addr, info)
	}
	return nil
}
