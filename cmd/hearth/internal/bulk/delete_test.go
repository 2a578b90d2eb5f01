package bulk

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthcache/hearth/internal/wire"
)

// A delete of the service puts a mark where a value was read a moment before; a load takes a lease.
func TestDelete_LeavesAPlaceholderThatCameMeanwhile(t *testing.T) {
	for name, at := range map[string]server{"redis": startRedis(t), "memcached": startMemcached(t, 1), "cluster": startCluster(t)} {
		for _, k := range []string{"p:value", "p:marked", "p:leased", "p:gone"} {
			at.set(k, "value", 0, time.Hour)
		}
		e, err := Open(at.url(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		if err := e.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		mark, lease := string(wire.NewTombstone(7)), string(wire.NewLease())
		var once atomic.Bool
		r, err := Delete(t.Context(), Removal{At: e, Filter: Filter{Prefix: "p:"}, Workers: 1, between: func() {
			if name == "cluster" && !once.CompareAndSwap(false, true) {
				return
			}
			at.set("p:marked", mark, 0, time.Hour)
			at.set("p:leased", lease, 0, time.Hour)
			at.del("p:gone")
		}})
		if name == "cluster" { // keys of masters that are listed later are seen as what they are by then
			if err != nil || r.Left != 2 {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
		} else if err != nil || r.Deleted != 2 || r.Left != 2 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		for key, want := range map[string]string{"p:marked": mark, "p:leased": lease} {
			if v, _, _ := at.get(key); v != want {
				t.Errorf("%s: %s is %q", name, key, v)
			}
		}
		if _, _, ttl := at.get("p:value"); ttl >= 0 {
			t.Errorf("%s: the value is still there", name)
		}
	}
}

// busy stands in front of a memcached and says that the lister is taken, for as many times as left.
func busy(t *testing.T, addr string, left *atomic.Int64) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if strings.HasPrefix(line, "lru_crawler metadump") && left.Add(-1) >= 0 {
					_, _ = io.WriteString(c, "BUSY currently processing crawler request\r\n")
					return
				}
				s, err := net.Dial("tcp", addr)
				if err != nil {
					return
				}
				defer s.Close()
				go func() {
					_, _ = io.WriteString(s, line)
					_, _ = io.Copy(s, r)
					s.Close()
				}()
				_, _ = io.Copy(c, s)
			}()
		}
	}()
	return l.Addr().String()
}

// Somebody else lists the keys of a memcached: that is told of, and waited for as long as for a
// server that is away.
func TestScan_ABusyListerCountsAgainstPatience(t *testing.T) {
	m, to := startMemcached(t, 1), startRedis(t)
	m.set("k", "v", 0, 0)
	var left atomic.Int64
	a, b := openBoth(t, "memcached://"+busy(t, m.addrs[0], &left), to.url(), Options{})
	var heard atomic.Int64
	trouble := func(text string) {
		if strings.Contains(text, "BUSY") {
			heard.Add(1)
		}
	}
	left.Store(2)
	f, err := Verify(t.Context(), Check{From: a, To: b, Trouble: trouble})
	if err != nil || f.Diffs[Missing] != 1 || heard.Load() != 2 {
		t.Errorf("%+v, %v, told %d times", f, err, heard.Load())
	}
	left.Store(1 << 30)
	_, err = Verify(t.Context(), Check{From: a, To: b, Patience: 100 * time.Millisecond, Trouble: trouble})
	if err == nil || !strings.Contains(err.Error(), "given up after 100ms") || !strings.Contains(err.Error(), "BUSY") {
		t.Errorf("busy for good: %v", err)
	}
}
