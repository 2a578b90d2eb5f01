package containers

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	goredis "github.com/redis/go-redis/v9"
	"github.com/testcontainers/testcontainers-go"
	memcachedmodule "github.com/testcontainers/testcontainers-go/modules/memcached"
	redismodule "github.com/testcontainers/testcontainers-go/modules/redis"
	valkeymodule "github.com/testcontainers/testcontainers-go/modules/valkey"

	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/backends/redis"
)

// image is a server to test on.
type image struct {
	tag  string
	kind string // "redis", "valkey" or "memcached"
}

var images = []image{
	{"redis:7", "redis"},
	{"redis:8", "redis"},
	{"valkey/valkey:8", "valkey"},
	{"memcached:1.6.18", "memcached"},
	{"memcached:1.6", "memcached"},
}

// start runs the image behind a port of its own and returns the address.
func (i image) start(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var c testcontainers.Container
	var err error
	var port string
	switch i.kind {
	case "redis":
		c, err = redismodule.Run(ctx, i.tag)
		port = "6379/tcp"
	case "valkey":
		// The module sets the entry point, and with it goes the image's own command line.
		c, err = valkeymodule.Run(ctx, i.tag, testcontainers.WithCmdArgs("--protected-mode", "no", "--save", ""))
		port = "6379/tcp"
	default:
		c, err = memcachedmodule.Run(ctx, i.tag)
		port = "11211/tcp"
	}
	testcontainers.CleanupContainer(t, c)
	if err != nil {
		t.Fatalf("start %s: %v", i.tag, err)
	}
	addr, err := c.PortEndpoint(ctx, port, "")
	if err != nil {
		t.Fatalf("address of %s: %v", i.tag, err)
	}
	return addr
}

// host is a server in a container that shares the machine's network: its address is the same
// from inside and outside, and stays when it is started again.
type host struct {
	testcontainers.Container
	addr string
	kind string
}

// startHost runs the image on a free port of the machine, with these arguments.
func (i image) startHost(t *testing.T, port int, args ...string) *host {
	t.Helper()
	cmd := []string{"memcached", "-u", "root", "-l", "127.0.0.1", "-p", strconv.Itoa(port)}
	if i.kind != "memcached" {
		server := map[string]string{"redis": "redis-server", "valkey": "valkey-server"}[i.kind]
		cmd = []string{server, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--protected-mode", "no", "--save", ""}
	}
	c, err := testcontainers.Run(t.Context(), i.tag,
		testcontainers.WithCmd(append(cmd, args...)...),
		testcontainers.WithHostConfigModifier(func(c *container.HostConfig) { c.NetworkMode = "host" }),
	)
	testcontainers.CleanupContainer(t, c)
	if err != nil {
		t.Fatalf("start %s: %v", i.tag, err)
	}
	h := &host{Container: c, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), kind: i.kind}
	await(t, i.tag+" answers", h.ping)
	return h
}

// kill ends the server at once, as a crash would.
func (h *host) kill(t *testing.T) {
	t.Helper()
	c, err := testcontainers.NewDockerClientWithOpts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.ContainerKill(t.Context(), h.GetContainerID(), client.ContainerKillOptions{Signal: "KILL"}); err != nil {
		t.Fatalf("kill: %v", err)
	}
	await(t, "the server is gone", func() error {
		if h.ping() == nil {
			return fmt.Errorf("%s still answers", h.addr)
		}
		return nil
	})
}

// again starts a killed server, which has forgotten everything.
func (h *host) again(t *testing.T) {
	t.Helper()
	if err := h.Start(t.Context()); err != nil {
		t.Fatalf("start again: %v", err)
	}
	await(t, "the server answers again", h.ping)
}

// ping asks the server whether it is there.
func (h *host) ping() error {
	if h.kind == "memcached" {
		c := memcache.New(h.addr)
		defer c.Close()
		return c.Ping()
	}
	c := goredis.NewClient(redis.Options(h.addr))
	defer c.Close()
	return c.Ping(context.Background()).Err()
}

// await polls until the condition gives no error.
func await(t *testing.T, what string, condition func() error) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s: %v", what, err)
		case <-t.Context().Done():
			t.Fatalf("waited in vain until %s: %v", what, t.Context().Err())
		}
	}
}

// freePorts returns ports that nobody holds, each at most limit.
func freePorts(t *testing.T, n, limit int) []int {
	t.Helper()
	var ports []int
	for range 200 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // held until all are found, so that they differ
		if p := l.Addr().(*net.TCPAddr).Port; p <= limit {
			ports = append(ports, p)
		}
		if len(ports) == n {
			return ports
		}
	}
	t.Fatalf("no %d free ports up to %d", n, limit)
	return nil
}

const anyPort = 65535

// caseTime is what a busy machine may take for a call; the default of a client would fail a test
// that only waited for a processor.
const caseTime = 5 * time.Second

// redisStore opens a store on a Redis or Valkey.
func redisStore(t *testing.T, addr string) (*redis.Store, *goredis.Client) {
	t.Helper()
	o := redis.Options(addr)
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = caseTime, caseTime, caseTime, caseTime
	c := goredis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	s, err := redis.New(c, redis.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// memcachedStore opens a store on a memcached.
func memcachedStore(t *testing.T, addr string) *memcached.Store {
	t.Helper()
	s, err := memcached.New(memcached.Config{Servers: []memcached.Server{{Addr: addr}}, Timeout: caseTime})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
