package bulk

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// A fleet grows from two servers to three, and the new list has a prefix: the old one lists the
// copies too, and they must not be copied in their turn, however often the copy is repeated.
func TestCopy_OnSharedServersLeavesItsOwnCopiesOut(t *testing.T) {
	fleet := startMemcached(t, 3)
	one := startRedis(t)
	for name, way := range map[string][2]string{
		"memcached": {"memcached://" + strings.Join(fleet.addrs[:2], ",") + "?router=modulo", fleet.url() + "?router=ketama"},
		"redis":     {one.url(), strings.Replace(one.url(), "127.0.0.1", "localhost", 1)},
	} {
		a, b := openBoth(t, way[0], way[1], Options{})
		const n = 300
		set(t, a, n)
		f := Filter{AddPrefix: "v2:"}
		for run := range 3 {
			r := mustCopy(t, Job{From: a, To: b, Filter: f})
			if want := int64(n); run == 0 && r.Fates[Copied] != want || run > 0 && (r.Fates[Copied] != 0 || r.Fates[Exists] != want) {
				t.Errorf("%s, run %d: fates %v", name, run, r.Fates)
			}
		}
		if got := a.estimate(t.Context()); name == "redis" && got != 2*n {
			t.Errorf("%d keys for %d", got, n)
		}
		found, err := Verify(t.Context(), Check{From: a, To: b, Filter: f, BothWays: true})
		if err != nil || found.Equal != n || found.Compared != n || found.Back != n || found.Different() != 0 {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
		// And the way back, to no prefix: the keys of old are not the target's.
		back := Filter{StripPrefix: "v2:"}
		r := mustCopy(t, Job{From: b, To: a, Filter: back})
		if r.Fates[Copied] != 0 || r.Fates[Exists] != n {
			t.Errorf("%s, back: fates %v", name, r.Fates)
		}
		found, err = Verify(t.Context(), Check{From: b, To: a, Filter: back, BothWays: true})
		if err != nil || found.Equal != n || found.Back != n || found.Different() != 0 {
			t.Errorf("%s, back: %+v, %v", name, found, err)
		}
	}
}

// set stores n keys where e keeps them.
func set(t *testing.T, e *Endpoint, n int) {
	t.Helper()
	s := e.session()
	defer s.close()
	var recs []*Record
	for i := range n {
		recs = append(recs, &Record{Key: fmt.Sprint("key:", i), Value: fmt.Append(nil, i), Deadline: time.Now().Add(time.Hour)})
	}
	if err := s.write(t.Context(), recs, true); err != nil {
		t.Fatal(err)
	}
}

// What another server's keys begin with says nothing about who wrote them.
func TestCopy_ToAnotherServerTakesKeysWithThePrefix(t *testing.T) {
	from, to := startRedis(t), startRedis(t)
	from.set("v2:k", "1", 0, 0)
	from.set("tmp:k", "1", 0, 0)
	a, b := openBoth(t, from.url(), to.url(), Options{})
	if r := mustCopy(t, Job{From: a, To: b, Filter: Filter{AddPrefix: "v2:", Except: "tmp:"}}); r.Fates[Copied] != 1 || r.Fates[Filtered] != 1 {
		t.Errorf("fates %v", r.Fates)
	}
	if _, _, ttl := to.get("v2:v2:k"); ttl < 0 {
		t.Error("the key was left out")
	}
	other, _ := openBoth(t, strings.TrimSuffix(from.url(), "0")+"1", to.url(), Options{})
	if shared, err := shares(t.Context(), a, other); shared || err != nil {
		t.Errorf("two databases share their keys: %t, %v", shared, err)
	}
}

func TestFilter_WantedKeysAreNotTakenForCopies(t *testing.T) {
	f := Filter{StripPrefix: "app:old:", AddPrefix: "app:"}.without(true)
	if !f.keeps("app:old:k") {
		t.Error("nothing is left to copy")
	}
	f = Filter{StripPrefix: "app:", AddPrefix: "app:new:"}.without(true)
	if !f.keeps("app:k") || f.keeps("app:new:k") {
		t.Error("copies are copied")
	}
}

// oldMemcached stands in front of a memcached and knows no "metadump hash", as old versions.
func oldMemcached(t *testing.T, addr string) string {
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
			go proxyOld(t.Context(), c, addr)
		}
	}()
	return "memcached://" + l.Addr().String()
}

func proxyOld(ctx context.Context, c net.Conn, addr string) {
	defer c.Close()
	up, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return
	}
	defer up.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 64<<10)
		for {
			n, err := up.Read(b)
			if err != nil {
				return
			}
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
		}
	}()
	b := make([]byte, 64<<10)
	for {
		n, err := c.Read(b)
		if err != nil {
			break
		}
		if strings.HasPrefix(string(b[:n]), "lru_crawler metadump hash") {
			_, err = c.Write([]byte("CLIENT_ERROR bad command line format\r\n"))
		} else {
			_, err = up.Write(b[:n])
		}
		if err != nil {
			break
		}
	}
	up.Close()
	<-done
}

// A list that may lack keys is no complete one, and the report says so.
func TestCopy_SaysWhenTheListMayLackKeys(t *testing.T) {
	from, to := startMemcached(t, 1), startRedis(t)
	from.set("k", "v", 0, 0)
	a, b := openBoth(t, oldMemcached(t, from.addrs[0]), to.url(), Options{})
	r := mustCopy(t, Job{From: a, To: b})
	if r.Fates[Copied] != 1 || len(r.Remarks) != 1 || !strings.Contains(r.Remarks[0], "metadump hash") {
		t.Errorf("copied %d, remarks %q", r.Fates[Copied], r.Remarks)
	}
	found, err := Verify(t.Context(), Check{From: a, To: b})
	if err != nil || found.Equal != 1 || len(found.Remarks) != 1 {
		t.Errorf("%+v, %v", found, err)
	}
	direct, _ := openBoth(t, from.url(), to.url(), Options{})
	if r := mustCopy(t, Job{From: direct, To: b}); r.Remarks != nil {
		t.Errorf("remarks %q", r.Remarks)
	}
}
