package tier

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func TestFault_KilledServerIsUsedAgainAfterItsRestart(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := throughProxy(t, kind)
			c, _ := shaky(t, w)
			answered(t, c, 20, faultNoise)
			if err := w.srv.Kill(); err != nil {
				t.Fatal(err)
			}
			answered(t, c, 20, faultNoise)
			failing(t, c)
			if err := w.srv.Start(); err != nil {
				t.Fatal(err)
			}
			recovered(t, c)
		})
	}
}

func TestFault_FrozenServerIsABlackHole(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := throughProxy(t, kind)
			serverstest.Real(t, w.srv)
			c, _ := shaky(t, w)
			answered(t, c, 5, faultNoise)
			if err := w.srv.Pause(); err != nil {
				t.Fatal(err)
			}
			answered(t, c, 40, 3*faultTimeout+faultNoise)
			failing(t, c)
			if err := w.srv.Resume(); err != nil {
				t.Fatal(err)
			}
			recovered(t, c)
		})
	}
}

// admin is a plain client of the server behind w.
func admin(t *testing.T, w *wired) *goredis.Client {
	c := goredis.NewClient(&goredis.Options{Addr: w.srv.Addr()})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestFault_FlushedServerIsFilledAgainOncePerKey(t *testing.T) {
	t.Parallel()
	w := throughProxy(t, "redis")
	c, src := shaky(t, w)
	answered(t, c, 1, faultNoise)
	if err := admin(t, w).FlushAll(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	loads := src.count()
	for range 3 {
		answered(t, c, 1, faultNoise)
	}
	if n := src.count() - loads; n != 1 {
		t.Errorf("%d loads after FLUSHALL, want 1", n)
	}
}

func TestFault_ServerOutOfMemoryStillReadsAndForgets(t *testing.T) {
	t.Parallel()
	w := throughProxy(t, "redis")
	serverstest.Real(t, w.srv)
	ctx := context.Background()
	c, src := shaky(t, w, func(cfg *Config[string]) { cfg.Remotes[0].Timeout = faultRecover })
	answered(t, c, 1, faultNoise)
	a := admin(t, w)
	if err := errors.Join(a.ConfigSet(ctx, "maxmemory-policy", "noeviction").Err(), a.ConfigSet(ctx, "maxmemory", "1").Err()); err != nil {
		t.Fatal(err)
	}
	answered(t, c, 30, faultNoise) // fills fail, reads do not
	if e, err := c.Lookup(ctx, "k0"); err != nil || e.Value != "v0" {
		t.Errorf("what is there: %+v, %v", e, err)
	}
	src.set("k0", "new")
	if err := c.Invalidate(ctx, "k0"); err != nil && !errors.Is(err, ErrQueued) {
		t.Error(err)
	}
	v, err := c.Get(ctx, "k0")
	want(t, v, err, "new")
	if err := a.ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	src.set("k0", "v0")
	recovered(t, c)
}

func TestFault_ReplicaThatRefusesWritesIsReadAndOwed(t *testing.T) {
	t.Parallel()
	w := throughProxy(t, "redis")
	serverstest.Real(t, w.srv)
	ctx := context.Background()
	c, src := shaky(t, w)
	answered(t, c, 1, faultNoise)
	a := admin(t, w)
	if err := a.Do(ctx, "REPLICAOF", "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	answered(t, c, 10, faultNoise)
	src.set("k0", "new")
	wantErr(t, c.Invalidate(ctx, "k0"), ErrQueued)
	v, err := c.Get(ctx, "k0")
	want(t, v, err, "new")
	if err := a.Do(ctx, "REPLICAOF", "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	src.set("k0", "v0")
	recovered(t, c)
	if n := c.Health().Remotes[0].Owed; n != 0 {
		t.Errorf("%d invalidations are still owed", n)
	}
}

func TestFault_ForeignTypeIsReadPastAndLeftAlone(t *testing.T) {
	t.Parallel()
	w := throughProxy(t, "redis")
	ctx := context.Background()
	c, _ := shaky(t, w)
	a := admin(t, w)
	if err := a.LPush(ctx, "t:k0", "theirs").Err(); err != nil {
		t.Fatal(err)
	}
	answered(t, c, 1, faultNoise)
	if kind, err := a.Type(ctx, "t:k0").Result(); err != nil || kind != "list" {
		t.Errorf("another client's list is now a %q, %v", kind, err)
	}
}

func TestFault_WrongPasswordIsTierDownAndNamed(t *testing.T) {
	t.Parallel()
	w := throughProxy(t, "redis", "--requirepass", "secret")
	serverstest.Real(t, w.srv)
	c, _ := shaky(t, w)
	answered(t, c, 30, faultNoise)
	failing(t, c)
	named(t, c, "NOAUTH")
	a := goredis.NewClient(&goredis.Options{Addr: w.srv.Addr(), Password: "secret"})
	t.Cleanup(func() { _ = a.Close() })
	if err := a.ConfigSet(context.Background(), "requirepass", "").Err(); err != nil {
		t.Fatal(err)
	}
	recovered(t, c)
}

// refusal is a server that answers every command with one error line, until it is healed: then it
// passes connections on to a server that works.
type refusal struct {
	net.Listener
	line   string
	target string
	healed atomic.Bool
	work   sync.WaitGroup
}

func refusing(t *testing.T, line, target string) *refusal {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &refusal{Listener: l, line: line, target: target}
	r.work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.work.Go(func() {
				defer func() { _ = conn.Close() }()
				defer context.AfterFunc(t.Context(), func() { _ = conn.Close() })()
				r.serve(t, conn)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); r.work.Wait() })
	return r
}

func (r *refusal) serve(t *testing.T, conn net.Conn) {
	if r.healed.Load() {
		to, err := net.Dial("tcp", r.target)
		if err != nil {
			return
		}
		defer context.AfterFunc(t.Context(), func() { _ = to.Close() })()
		r.work.Go(func() {
			_, _ = io.Copy(to, conn)
			_ = to.Close()
		})
		_, _ = io.Copy(conn, to)
		return
	}
	in := bufio.NewReader(conn)
	for {
		word, err := in.ReadString('\n')
		if err != nil || r.healed.Load() {
			return
		}
		if strings.HasPrefix(word, "*") { // one answer a command
			_, _ = io.WriteString(conn, "-"+r.line+"\r\n")
		}
	}
}

func TestFault_ServerThatRefusesEverythingIsDown(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	for _, line := range []string{
		"LOADING Redis is loading the dataset in memory",
		"CLUSTERDOWN The cluster is down",
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
		"MISCONF Redis is configured to save RDB snapshots",
		"NOPERM this user has no permissions to run the command",
		"ERR max number of clients reached",
	} {
		t.Run(strings.Fields(line)[0], func(t *testing.T) {
			t.Parallel()
			r := refusing(t, line, srv.Addr())
			c, _ := shaky(t, dial(t, "redis", r.Addr().String()), func(cfg *Config[string]) {
				cfg.Namespace = strings.Fields(line)[0] // the rows share the server that works
			})
			answered(t, c, 30, 3*faultTimeout+faultNoise)
			failing(t, c)
			named(t, c, strings.Fields(line)[0])
			r.healed.Store(true)
			recovered(t, c)
		})
	}
}

// A script of somebody else's that runs for long: the server answers nothing, and then BUSY.
func TestFault_ServerBusyWithAScriptIsDownAndNamed(t *testing.T) {
	t.Parallel()
	w := throughProxy(t, "redis", "--lua-time-limit", "20")
	serverstest.Real(t, w.srv)
	ctx := context.Background()
	c, src := shaky(t, w)
	answered(t, c, 10, faultNoise)
	a := admin(t, w)
	if err := a.Ping(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	script := goredis.NewClient(&goredis.Options{Addr: w.srv.Addr(), ReadTimeout: -1, MaxRetries: -1})
	var wg sync.WaitGroup
	wg.Go(func() { _ = script.Eval(ctx, "while true do end", nil).Err() })
	t.Cleanup(func() { _ = script.Close(); wg.Wait() })
	for deadline := time.Now().Add(faultRecover); !goredis.HasErrorPrefix(a.Ping(ctx).Err(), "BUSY"); {
		if time.Now().After(deadline) {
			t.Fatal("the script does not keep the server busy")
		}
	}
	answered(t, c, 40, 3*faultTimeout+faultNoise)
	failing(t, c)
	named(t, c, "BUSY")
	src.set("k0", "new")
	wantErr(t, c.Invalidate(ctx, "k0"), ErrQueued)
	v, err := c.Get(ctx, "k0")
	want(t, v, err, "new") // and not what is in the tier
	src.set("k0", "v0")
	if err := a.ScriptKill(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	recovered(t, c)
}

// After a failover the new server does not know the scripts yet.
func TestFault_ServerThatForgotTheScriptsIsFilledAllTheSame(t *testing.T) {
	t.Parallel()
	w := throughProxy(t, "redis")
	ctx := context.Background()
	c, _ := shaky(t, w)
	answered(t, c, 1, faultNoise)
	if err := admin(t, w).ScriptFlush(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	_, err := c.Get(ctx, "k1")
	want(t, c.Stats().Remotes[0].Fills, err, 2)
}

func TestFault_FullMemcachedStillReadsAndForgets(t *testing.T) {
	t.Parallel()
	w := throughProxy(t, "memcached", "-M", "-m", "2", "-f", "2")
	serverstest.Real(t, w.srv)
	ctx := context.Background()
	c, src := shaky(t, w, func(cfg *Config[string]) { cfg.Remotes[0].Timeout = faultRecover })
	answered(t, c, 1, faultNoise)
	filler := fillUp(t, w)
	answered(t, c, 30, faultNoise) // fills fail, reads do not
	if s := c.Stats().Remotes[0]; s.Fills != 1 {
		t.Errorf("%d fills, want the one from before it was full", s.Fills)
	}
	if e, err := c.Lookup(ctx, "k0"); err != nil || e.Value != "v0" {
		t.Errorf("what is there: %+v, %v", e, err)
	}
	src.set("k0", "new")
	if err := c.Invalidate(ctx, "k0"); err != nil {
		t.Error(err)
	}
	v, err := c.Get(ctx, "k0")
	want(t, v, err, "new")
	for lo := 0; lo < len(filler); lo += 500 {
		backends.DeleteMany(ctx, dialWith(t, "memcached", w.srv.Addr(), patience), filler[lo:min(lo+500, len(filler))])
	}
	src.set("k0", "v0")
	if err := c.Invalidate(ctx, "k0"); err != nil {
		t.Error(err)
	}
	recovered(t, c)
}

// fillUp stores small items until the server takes no more of any size that a frame of these
// tests has, and returns their keys.
func fillUp(t *testing.T, w *wired) (keys []string) {
	t.Helper()
	s := dialWith(t, "memcached", w.srv.Addr(), patience)
	for size := 8; size <= 256; size += 8 {
		for full := false; !full; {
			entries := make([]backends.KeyItem, 200)
			for i := range entries {
				entries[i] = backends.KeyItem{Key: fmt.Sprint("fill", len(keys)), Item: backends.Item{Value: make([]byte, size)}}
				keys = append(keys, entries[i].Key)
			}
			for _, err := range backends.SetMany(t.Context(), s, entries) {
				if err != nil && !errors.Is(err, backends.ErrFull) {
					t.Fatal(err)
				}
				full = full || err != nil
			}
		}
	}
	return keys
}

// Connections that the restart of a server has ended cost no reader a failure.
func TestFault_RestartedServerFailsNobodyWhoComesAfterwards(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := throughProxy(t, kind)
			c, _ := shaky(t, dial(t, kind, w.srv.Addr()), func(cfg *Config[string]) { cfg.Remotes[0].Timeout = faultRecover })
			answered(t, c, 60, faultNoise) // leaves idle connections
			if err := w.srv.Restart(); err != nil {
				t.Fatal(err)
			}
			for i := range 60 {
				_, err := c.Lookup(context.Background(), fmt.Sprint("k", i))
				wantErr(t, err, ErrMiss)
			}
		})
	}
}

// A server that comes back with data from before a delete brings the deleted value back: nothing
// in the protocol tells it from a value that was never deleted. It lives until its TTL ends, or
// until the namespace is cleared. See docs/consistency.md.
func TestFault_ServerRestoredFromAnOldSnapshotServesItUntilCleared(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := throughProxy(t, "redis", "--dbfilename", "old.rdb")
	serverstest.Real(t, w.srv)
	c, src := shaky(t, w, func(cfg *Config[string]) { cfg.Barriers.Enabled = true })
	answered(t, c, 2, faultNoise)
	a := admin(t, w)
	if err := a.Save(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	src.set("k0", "new")
	if err := c.Invalidate(ctx, "k0"); err != nil {
		t.Fatal(err)
	}
	v, err := c.Get(ctx, "k0")
	want(t, v, err, "new")
	if err := w.srv.Restart(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(faultRecover); ; time.Sleep(time.Millisecond) {
		v, err = c.Get(ctx, "k0")
		if err == nil && v == "v0" {
			break // what was deleted is back
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %q, %v: the snapshot was not served; if that is now prevented, say so in docs/consistency.md", v, err)
		}
	}
	if err := c.Clear(ctx); err != nil {
		t.Fatal(err)
	}
	v, err = c.Get(ctx, "k0")
	want(t, v, err, "new")
}

// A Clear between the snapshot and the crash is not undone where a process lives that knew of it.
func TestFault_ServerRestoredFromAnOldSnapshotStaysCleared(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := throughProxy(t, "redis", "--dbfilename", "old.rdb")
	serverstest.Real(t, w.srv)
	c, src := shaky(t, w, func(cfg *Config[string]) { cfg.Barriers.Enabled, cfg.Barriers.MaxAge = true, time.Nanosecond })
	answered(t, c, 2, faultNoise)
	if err := admin(t, w).Save(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	src.set("k0", "new")
	if err := c.Clear(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.srv.Restart(); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < 3*faultOpen || c.Health().Remotes[0].Breaker != "closed"; {
		v, err := c.Get(ctx, "k0")
		want(t, v, err, "new")
		if time.Since(began) > faultRecover {
			t.Fatalf("not in use again: %+v", c.Health())
		}
	}
	if s := c.Stats().Remotes[0]; s.Hits == 0 {
		t.Error("the restored server was never read")
	}
}
