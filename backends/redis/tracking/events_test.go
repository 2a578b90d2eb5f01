package tracking

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends/redis"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
)

// foreigner is a client that knows nothing of hearth. It carries out lines of commands.
type foreigner struct {
	name string
	do   func(t *testing.T, addr string, lines ...string)
}

var foreigners = []foreigner{
	{"a client of its own", func(t *testing.T, addr string, lines ...string) {
		o := redis.Options(addr)
		o.PoolSize = 1 // MULTI and SELECT need one connection
		c := connectWith(t, o).Conn()
		defer c.Close()
		for _, l := range lines {
			var args []any
			for a := range strings.FieldsSeq(l) {
				args = append(args, a)
			}
			if err := c.Do(t.Context(), args...).Err(); err != nil && err != goredis.Nil {
				t.Fatalf("%s: %v", l, err)
			}
		}
	}},
	{"redis-cli", func(t *testing.T, addr string, lines ...string) {
		host, port, _ := strings.Cut(addr, ":")
		cmd := exec.CommandContext(t.Context(), "redis-cli", "-h", host, "-p", port)
		cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "ERR ") {
			t.Fatalf("redis-cli: %v: %s", err, out)
		}
	}},
}

func TestWatch_SeesWhatForeignClientsDo(t *testing.T) {
	for _, f := range foreigners {
		t.Run(f.name, func(t *testing.T) {
			addr := own(t, "--hz", "100", "--maxmemory-policy", "allkeys-random").Addr()
			l := sinktest.Watch(t, source(t, connect(t, addr), calm("ns")))
			for _, c := range []struct {
				name   string
				before []string // not to be looked at
				act    []string
				gone   []string // must be forgotten
				kept   []string // must not
			}{
				{name: "SET of a new key", act: []string{"SET ns:a 1"}, gone: []string{"ns:a"}, kept: []string{"ns:b"}},
				{name: "SET of a key that is there", before: []string{"SET ns:a 1"}, act: []string{"SET ns:a 2"}, gone: []string{"ns:a"}},
				{name: "DEL", before: []string{"SET ns:a 1"}, act: []string{"DEL ns:a"}, gone: []string{"ns:a"}},
				{name: "DEL of a key that is not there", act: []string{"DEL ns:none"}, kept: []string{"ns:none"}},
				{name: "UNLINK", before: []string{"SET ns:a 1"}, act: []string{"UNLINK ns:a"}, gone: []string{"ns:a"}},
				{name: "APPEND", before: []string{"SET ns:a 1"}, act: []string{"APPEND ns:a 2"}, gone: []string{"ns:a"}},
				{name: "EXPIRE", before: []string{"SET ns:a 1"}, act: []string{"EXPIRE ns:a 100"}, gone: []string{"ns:a"}},
				{name: "RENAME", before: []string{"SET ns:a 1"}, act: []string{"RENAME ns:a ns:b"}, gone: []string{"ns:a", "ns:b"}},
				{name: "MULTI", act: []string{"MULTI", "SET ns:a 1", "SET ns:b 1", "SET ns:a 2", "EXEC"}, gone: []string{"ns:a", "ns:b"}, kept: []string{"ns:c"}},
				{name: "a script", act: []string{"EVAL return(redis.call(ARGV[1],KEYS[1],ARGV[1])) 1 ns:a set"}, gone: []string{"ns:a"}},
				{name: "a hash field", act: []string{"HSET ns:h f v"}, gone: []string{"ns:h"}},
				{name: "expiry that nobody looks at", act: []string{"SET ns:x 1"}, gone: []string{"ns:x"}},
				{name: "another prefix", act: []string{"SET nsb:a 1", "SET other 1"}, kept: []string{"nsb:a", "other"}},
				{name: "the same key in another database", act: []string{"SELECT 5", "SET ns:a 1"}, gone: []string{"ns:a"}},
				{name: "SWAPDB, which the server says nothing about", before: []string{"SET ns:a 1"}, act: []string{"SWAPDB 0 5", "SWAPDB 0 5"}, kept: []string{"ns:a"}},
			} {
				t.Run(c.name, func(t *testing.T) {
					settle := func(name string) {
						l.Put(name)
						f.do(t, addr, "SET "+name+" 1")
						l.Gone(t, name)
					}
					f.do(t, addr, "FLUSHALL")
					f.do(t, addr, append(c.before, "PING")...)
					settle("ns:settle1")
					l.Put(slices.Concat(c.gone, c.kept)...)
					f.do(t, addr, c.act...)
					l.Gone(t, c.gone...)
					if c.name == "expiry that nobody looks at" {
						expires(t, l, f, addr, "ns:x")
					}
					settle("ns:settle2") // the server reports in order
					for _, k := range c.kept {
						if !l.Has(k) {
							t.Errorf("%s was forgotten", k)
						}
					}
				})
			}
			for _, act := range [][]string{{"FLUSHDB"}, {"SELECT 5", "FLUSHALL"}, {"FLUSHALL ASYNC"}} {
				t.Run(strings.Join(act, " "), func(t *testing.T) {
					f.do(t, addr, "SET ns:a 1", "SET outside 1")
					l.Put("ns:settle")
					f.do(t, addr, "SET ns:settle 1")
					l.Gone(t, "ns:settle")
					l.Put("ns:a", "ns:b")
					l.Flushed(t, func() { f.do(t, addr, act...) })
					l.Gone(t, "ns:a", "ns:b")
				})
			}
			t.Run("eviction", func(t *testing.T) {
				f.do(t, addr, "FLUSHALL")
				var names []string
				for i := range 200 {
					names = append(names, fmt.Sprintf("ns:e%d", i))
				}
				big := strings.Repeat("x", 1000)
				var sets []string
				for _, n := range names {
					sets = append(sets, "SET "+n+" "+big)
				}
				f.do(t, addr, sets...)
				l.Put("ns:settle")
				f.do(t, addr, "SET ns:settle 1")
				l.Gone(t, "ns:settle")
				l.Put(names...)
				f.do(t, addr, "CONFIG SET maxmemory 1", "GET ns:none")
				defer f.do(t, addr, "CONFIG SET maxmemory 0")
				l.Gone(t, names...)
			})
		})
	}
}

// expires waits until key has been forgotten at the end of its lifetime. L1 must hold it before that,
// so a lifetime that was too short for a busy machine is made longer.
func expires(t *testing.T, l *sinktest.L1, f foreigner, addr, key string) {
	t.Helper()
	c := connect(t, addr)
	for ms := 30; ; ms *= 10 {
		l.Put(key)
		f.do(t, addr, fmt.Sprintf("SET %s 1 PX %d", key, ms))
		l.Gone(t, key) // by the SET, and perhaps by its end as well
		l.Put(key)
		if left, err := c.PTTL(t.Context(), key).Result(); err != nil {
			t.Fatal(err)
		} else if left > 0 {
			break
		}
	}
	l.Gone(t, key)
}

func TestWatch_SeesTenThousandKeysAtOnce(t *testing.T) {
	c := connect(t, server(t))
	l := sinktest.Watch(t, source(t, c, calm("many")))
	var names []string
	var pairs []any
	for i := range 10_000 {
		names = append(names, fmt.Sprintf("many:%d", i))
		pairs = append(pairs, names[i], i)
	}
	l.Put(names...)
	if err := c.MSet(t.Context(), pairs...).Err(); err != nil {
		t.Fatal(err)
	}
	l.Gone(t, names...)
	if n := len(l.State().Flushes); n != 1 {
		t.Errorf("%d flushes, want the one at the start: %q", n, l.State().Flushes)
	}
}

func TestWatch_WithoutANamespaceSeesEveryKey(t *testing.T) {
	c := connect(t, own(t).Addr())
	l := sinktest.Watch(t, source(t, c, calm("")))
	l.Put("a", "\x00\r\nodd")
	c.Set(t.Context(), "a", 1, 0)
	c.Set(t.Context(), "\x00\r\nodd", 1, 0)
	l.Gone(t, "a", "\x00\r\nodd")
	l.Put("b")
	l.Flushed(t, func() {
		if err := source(t, c, calm("")).PublishFlush(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Why the key that PublishFlush writes has no lifetime: whoever gives it one flushes at its end too.
func TestPublishFlush_ItsKeyStays(t *testing.T) {
	c := connect(t, server(t))
	s := source(t, c, calm("stays"))
	l := sinktest.Watch(t, s)
	l.Flushed(t, func() {
		if err := s.PublishFlush(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if ttl := c.TTL(t.Context(), "stays!flush").Val(); ttl != -1 {
		t.Errorf("it lives %v", ttl)
	}
	n := len(l.State().Flushes)
	c.PExpire(t.Context(), "stays!flush", 50*time.Millisecond)
	l.Await(t, "a flush for the lifetime, and one for its end", func(s sinktest.State) bool { return len(s.Flushes) == n+2 })
}

func TestPublishFlush_ReachesOtherProcesses(t *testing.T) {
	c := connect(t, server(t))
	s, peer := source(t, c, calm("pf")), source(t, c, calm("pf"))
	l := sinktest.Watch(t, s)
	l.Put("pf:a")
	l.Flushed(t, func() {
		if err := peer.PublishFlush(t.Context()); err != nil {
			t.Error(err)
		}
	})
	l.Gone(t, "pf:a")
}
