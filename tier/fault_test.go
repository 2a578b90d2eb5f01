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
	"testing/synctest"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/internal/faultproxy"
	"github.com/hearthcache/hearth/internal/fence"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// What the fault tests allow. Bounds are generous where they guard against waiting for a second
// timeout, not against a slow machine.
const (
	faultTimeout = 100 * time.Millisecond  // of a call to the tier
	faultOpen    = 100 * time.Millisecond  // pause of the breaker
	faultNoise   = 1500 * time.Millisecond // what a busy machine adds
	faultRecover = 5 * time.Second         // after which a healthy tier must be in use again
	faultPlaces  = 16                      // calls to the tier at a time
)

// busyStore counts the calls under way in the store below, those left behind included.
type busyStore struct {
	*wired
	now, most atomic.Int64
}

func (b *busyStore) Get(ctx context.Context, key string) (backends.Item, error) {
	n := b.now.Add(1)
	defer b.now.Add(-1)
	for old := b.most.Load(); n > old && !b.most.CompareAndSwap(old, n); old = b.most.Load() {
	}
	return b.wired.Get(ctx, key)
}

// shaky is a cache without L1 over a tier that is about to break, and its source.
func shaky(t *testing.T, s backends.Store, changes ...func(*Config[string])) (*Cache[string], *source) {
	src := newSource()
	for i := range 100 {
		src.set(fmt.Sprint("k", i), fmt.Sprint("v", i))
	}
	cfg := over(src, s)
	cfg.Local.Disabled = true
	cfg.Load.Wait = faultTimeout
	r := &cfg.Remotes[0]
	r.Timeout, r.MaxConcurrent = faultTimeout, faultPlaces
	r.Breaker.OpenFor, r.Breaker.MaxOpenFor = faultOpen, faultOpen
	for _, change := range changes {
		change(&cfg)
	}
	return open(t, cfg), src
}

// answered reads n keys side by side: every one has to be right, within bound.
func answered(t *testing.T, c *Cache[string], n int, bound time.Duration) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			began := time.Now()
			v, err := c.Get(context.Background(), fmt.Sprint("k", i))
			if took := time.Since(began); err != nil || v != fmt.Sprint("v", i) || took > bound {
				t.Errorf("k%d: got %q, %v after %v; the source has v%d and the bound is %v", i, v, err, took, i, bound)
			}
		})
	}
	wg.Wait()
}

// failing asserts that the tier's failure is told from a miss.
func failing(t *testing.T, c *Cache[string]) {
	t.Helper()
	_, err := c.Lookup(context.Background(), "k99")
	if err == nil || errors.Is(err, ErrMiss) {
		t.Errorf("a look at a failing tier: %v, want a failure that is no miss", err)
	}
}

// recovered waits until the tier answers by itself again, and its breaker is closed.
func recovered(t *testing.T, c *Cache[string]) {
	t.Helper()
	ctx, began := context.Background(), time.Now()
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		_, _ = c.Get(ctx, "k0")
		e, err := c.Lookup(ctx, "k0")
		if err == nil && e.Value == "v0" && c.Health().Remotes[0].Breaker == "closed" {
			tick.Stop()
			return
		}
		if time.Since(began) > faultRecover {
			t.Fatalf("not in use again after %v: %v, health %+v", faultRecover, err, c.Health())
		}
	}
}

// Every row: a reader is answered by the source within two timeouts (the read, the lease); a
// failure is no miss; calls left behind are bounded; the tier is in use again once it is well.
func TestFault_NetworkNeverFailsARead(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		fault faultproxy.Fault
		reset bool // open connections are reset when the fault begins
		quick bool // it shows at once, not by a timeout
	}{
		{name: "latency above the timeout", fault: faultproxy.Fault{Down: faultproxy.Flow{Latency: 3 * faultTimeout, Jitter: faultTimeout}}},
		{name: "black hole", fault: faultproxy.Fault{Up: faultproxy.Flow{Stall: true}, Down: faultproxy.Flow{Stall: true}}},
		{name: "replies vanish", fault: faultproxy.Fault{Down: faultproxy.Flow{Stall: true}}},
		{name: "reset in mid-reply", fault: faultproxy.Fault{Down: faultproxy.Flow{CutAfter: 3}}, reset: true, quick: true},
		{name: "slow drip", fault: faultproxy.Fault{Down: faultproxy.Flow{Slice: 1, BytesPerSecond: 10}}},
		{name: "half-open", fault: faultproxy.Fault{Down: faultproxy.Flow{Shut: true}}, quick: true},
		{name: "refused", fault: faultproxy.Fault{Refuse: true}, reset: true, quick: true},
	} {
		for _, kind := range bothKinds {
			t.Run(row.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				s := &busyStore{wired: throughProxy(t, kind)}
				c, _ := shaky(t, s)
				answered(t, c, 10, faultNoise)
				s.proxy.Set(row.fault)
				if row.reset {
					s.proxy.ResetAll()
				}
				bound := 3*faultTimeout + faultNoise
				if row.quick {
					bound = faultNoise
				}
				answered(t, c, 90, bound)
				failing(t, c)
				if n := s.most.Load(); n > faultPlaces {
					t.Errorf("%d calls at a time, allowed are %d", n, faultPlaces)
				}
				s.proxy.Clear()
				recovered(t, c)
			})
		}
	}
}

func TestFault_OpenBreakerCostsReadersNothing(t *testing.T) {
	t.Parallel()
	w := throughProxy(t, "redis")
	c, _ := shaky(t, w, func(cfg *Config[string]) {
		cfg.Remotes[0].Breaker.OpenFor, cfg.Remotes[0].Breaker.MaxOpenFor = time.Minute, time.Minute
	})
	w.proxy.Set(faultproxy.Fault{Up: faultproxy.Flow{Stall: true}})
	for deadline := time.Now().Add(faultRecover); c.Health().Remotes[0].Breaker != "open"; {
		answered(t, c, 8, 3*faultTimeout+faultNoise)
		if time.Now().After(deadline) {
			t.Fatal("the breaker does not open on a black hole")
		}
	}
	if h := c.Health().Remotes[0]; h.LastErr == nil || h.RetryIn <= 0 {
		t.Errorf("health %+v does not say what is wrong and when it is tried again", h)
	}
	_, err := c.levels[0].get(context.Background(), "k1")
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("a call through the open breaker: %v", err)
	}
}

func TestFault_RepliesInSingleBytesAreRead(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := throughProxy(t, kind)
			w.proxy.Set(faultproxy.Fault{Up: faultproxy.Flow{Slice: 1}, Down: faultproxy.Flow{Slice: 1}})
			c, src := shaky(t, w, func(cfg *Config[string]) { cfg.Remotes[0].Timeout = faultRecover })
			answered(t, c, 5, faultRecover)
			loads := src.count()
			answered(t, c, 5, faultRecover)
			if src.count() != loads {
				t.Error("what was filled through a link of single bytes was not found again")
			}
		})
	}
}

func TestFault_FlippedBitsNeverBecomeAValue(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := throughProxy(t, kind)
			c, _ := shaky(t, w)
			answered(t, c, 90, faultNoise)
			for every := int64(5); every < 60; every += 6 {
				w.proxy.Set(faultproxy.Fault{Down: faultproxy.Flow{FlipEvery: every}})
				answered(t, c, 20, 3*faultTimeout+faultNoise)
			}
			w.proxy.Clear()
			w.proxy.ResetAll()
			recovered(t, c)
			answered(t, c, 90, 3*faultTimeout+faultNoise)
		})
	}
}

// One process cannot reach the tier and invalidates: it does not read what it owes, and delivers
// when it can.
func TestFault_SplitBrainOwesItsInvalidationsAndDelivers(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			w := throughProxy(t, kind)
			cut, src := shaky(t, w)
			cfg := over(src, dial(t, kind, w.srv.Addr()))
			cfg.Local.Disabled = true
			whole := open(t, cfg)
			answered(t, cut, 1, faultNoise)
			w.proxy.Set(faultproxy.Fault{Up: faultproxy.Flow{Stall: true}})
			src.set("k0", "new")
			wantErr(t, cut.Invalidate(ctx, "k0"), ErrQueued)
			v, err := cut.Get(ctx, "k0")
			want(t, v, err, "new")
			v, err = whole.Get(ctx, "k0")
			want(t, v, err, "v0") // it could not be told
			w.proxy.Clear()
			for deadline := time.Now().Add(faultRecover); cut.Health().Remotes[0].Owed > 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("not delivered: %+v", cut.Health())
				}
			}
			v, err = whole.Get(ctx, "k0")
			want(t, v, err, "new")
		})
	}
}

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
	c, _ := shaky(t, w)
	answered(t, c, 30, faultNoise)
	failing(t, c)
	for deadline := time.Now().Add(faultRecover); ; { // a busy machine may be late before it is refused
		h := c.Health().Remotes[0]
		if h.LastErr != nil && strings.Contains(h.LastErr.Error(), "NOAUTH") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("health %+v does not name the cause", h)
		}
		answered(t, c, 1, faultNoise)
	}
}

// refusing is a server that answers every command with one error line.
func refusing(t *testing.T, line string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = conn.Close() }()
				stop := context.AfterFunc(t.Context(), func() { _ = conn.Close() })
				defer stop()
				r := bufio.NewReader(conn)
				for {
					word, err := r.ReadString('\n')
					if err != nil {
						return
					}
					if strings.HasPrefix(word, "*") { // one answer a command
						_, _ = io.WriteString(conn, "-"+line+"\r\n")
					}
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

func TestFault_ServerThatRefusesEverythingIsDown(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"LOADING Redis is loading the dataset in memory",
		"CLUSTERDOWN The cluster is down",
		"MISCONF Redis is configured to save RDB snapshots",
		"NOPERM this user has no permissions to run the command",
		"ERR max number of clients reached",
	} {
		t.Run(strings.Fields(line)[0], func(t *testing.T) {
			t.Parallel()
			c, _ := shaky(t, dial(t, "redis", refusing(t, line)))
			answered(t, c, 30, 3*faultTimeout+faultNoise)
			failing(t, c)
			if c.Health().Remotes[0].LastErr == nil {
				t.Error("health names no error")
			}
		})
	}
}

// A process that is stopped for longer than its lease comes back with an old value.
func TestFault_ProcessPausedBeyondItsLeaseFillsNothing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := throughProxy(t, "redis")
	src := newSource("k", "old")
	cfg := over(nil, w)
	cfg.Local.Disabled, cfg.Load.Lease = true, 50*time.Millisecond
	paused, other := open(t, cfg), open(t, cfg)
	loading, goOn := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		v, err := paused.GetOrLoad(ctx, "k", func(ctx context.Context, key string) (string, error) {
			v, err := src.Load(ctx, key)
			close(loading)
			<-goOn
			return v, err
		})
		if err != nil || v != "old" {
			t.Errorf("the paused reader got %q, %v", v, err)
		}
	})
	<-loading
	src.set("k", "new")
	if err := other.Invalidate(ctx, "k"); err != nil {
		t.Error(err)
	}
	v, err := other.GetOrLoad(ctx, "k", src.Load)
	want(t, v, err, "new")
	close(goOn)
	wg.Wait()
	v, err = other.GetOrLoad(ctx, "k", src.Load)
	want(t, v, err, "new")
	if s := paused.Stats().Remotes[0]; s.FillsLost != 1 || s.Fills != 0 {
		t.Errorf("the late fill was not refused: %+v", s)
	}
}

func TestFault_LoaderThatPanicsGivesItsLeaseBack(t *testing.T) {
	t.Parallel()
	for _, kind := range bothKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			c, src := shaky(t, throughProxy(t, kind))
			_, err := c.GetOrLoad(ctx, "k1", func(context.Context, string) (string, error) { panic("boom") })
			var p *PanicError
			if !errors.As(err, &p) {
				t.Fatalf("got %v, want a PanicError", err)
			}
			v, err := c.GetOrLoad(ctx, "k1", src.Load)
			want(t, v, err, "v1")
			if n := c.Stats().LeaseWaits; n != 0 {
				t.Errorf("waited %d times for a lease that nobody holds", n)
			}
			failed := errors.New("source down")
			_, err = c.GetOrLoad(ctx, "k2", func(context.Context, string) (string, error) { return "", failed })
			wantErr(t, err, failed)
			v, err = c.GetOrLoad(ctx, "k2", src.Load)
			want(t, v, err, "v2")
		})
	}
}

func TestFault_HungLoaderHoldsNobodyBeyondItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := over(nil, newProbe())
		cfg.Load.Timeout = time.Second
		c := open(t, cfg)
		free := make(chan struct{})
		hang := func(context.Context, string) (string, error) { <-free; return "late", nil }
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.GetOrLoad(context.Background(), "k", hang)
			wantErr(t, err, context.DeadlineExceeded)
			if took := time.Since(began); took != time.Second {
				t.Errorf("waited %v for a load of at most a second", took)
			}
		})
		wg.Go(func() { // its own deadline is sooner
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			_, err := c.GetOrLoad(ctx, "k", hang)
			wantErr(t, err, context.DeadlineExceeded)
			if took := time.Since(began); took != 100*time.Millisecond {
				t.Errorf("waited %v with a deadline of 100 ms", took)
			}
		})
		wg.Wait()
		close(free)
	})
}

func TestFault_CancelledLeaderLeavesTheLoadToTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, over(nil, newProbe()))
		free := make(chan struct{})
		load := func(ctx context.Context, _ string) (string, error) {
			select {
			case <-free:
				return "v", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		leader, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.GetOrLoad(leader, "k", load)
			wantErr(t, err, context.Canceled)
		})
		synctest.Wait()
		for range 10 {
			wg.Go(func() {
				v, err := c.GetOrLoad(context.Background(), "k", load)
				want(t, v, err, "v")
			})
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(free)
		wg.Wait()
		if n := c.Stats().Loads; n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
	})
}

// Another machine's clock is an hour off.
func TestFault_ClocksThatDifferNeitherKeepNorLoseValuesForLong(t *testing.T) {
	const hour = int64(time.Hour / time.Millisecond)
	for _, row := range []struct {
		name    string
		ahead   int64
		present bool
		why     string
	}{
		{"an hour ahead", hour, true, "it lives as long from first sight as it was meant to"},
		{"an hour behind", -hour, true, "the server says that it lives"},
		{"a second ahead", 1000, true, "that is no news"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src, p := newSource("k", "loaded"), newProbe()
				cfg := over(src, p)
				cfg.TTL, cfg.Local.TTL = time.Minute, time.Hour
				c := open(t, cfg)
				e := c.newEntry("stored", false, lifetime{ttl: time.Minute, fresh: time.Minute}, 0, 0, fromLoader)
				e.created, e.expires = e.created+row.ahead, e.expires+row.ahead
				frame, err := c.encode("k", e, 0)
				if err != nil {
					t.Fatal(err)
				}
				if err := p.Store.Set(t.Context(), "t:k", backends.Item{Value: frame, TTL: time.Minute}); err != nil {
					t.Fatal(err)
				}
				v, err := c.Get(t.Context(), "k")
				if got := v == "stored"; err != nil || got != row.present {
					t.Errorf("got %q, %v: %s", v, err, row.why)
				}
				time.Sleep(time.Minute + 2*time.Second)
				v, err = c.Get(t.Context(), "k")
				want(t, v, err, "loaded") // by then it is gone, whoever's clock counts
			})
		})
	}
}

// A reader that comes to a flight which has read the tier before another process changed the key
// gets what there is now: in the process of the change it would not have joined.
func TestGet_ReaderWhoJoinsALateFlightLooksAgain(t *testing.T) {
	run := func(t *testing.T, many bool) (got string) {
		synctest.Test(t, func(t *testing.T) {
			ctx := context.Background()
			shared := memory.New(memory.Config{})
			slow := backendtest.NewFaulty(shared, 1)
			cfg := over(nil, slow)
			cfg.Local.Disabled = true
			late := open(t, cfg)
			cfg.Remotes = []Remote{{Name: "a", Store: shared}}
			other := open(t, cfg)
			if err := other.Set(ctx, "k", "old"); err != nil {
				t.Fatal(err)
			}
			gate := make(chan struct{})
			slow.After(func(op backendtest.Op, _ string) { // the answer is on its way
				if op == backendtest.OpGet || op == backendtest.OpGetMany {
					<-gate
				}
			})
			var wg sync.WaitGroup
			read := func() (string, error) {
				if many {
					m, err := late.GetMany(ctx, []string{"k"})
					return m["k"], err
				}
				return late.Get(ctx, "k")
			}
			wg.Go(func() { _, _ = read() })
			synctest.Wait()
			if err := other.Set(ctx, "k", "new"); err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				var err error
				if got, err = read(); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
			close(gate)
			wg.Wait()
		})
		return got
	}
	for _, many := range []bool{false, true} {
		if got := run(t, many); got != "new" {
			t.Errorf("GetMany %v: a reader that came after the change got %q", many, got)
		}
	}
	defer fence.Remove(fence.Flight)()
	for _, many := range []bool{false, true} {
		if got := run(t, many); got != "old" {
			t.Errorf("GetMany %v: without the second look the reader got %q; the test cannot see what it is for", many, got)
		}
	}
}

// What is owed is delivered while a batch is under way that has read the old value before.
func TestGetMany_WhatItReadWhileItWasOwedIsNotUsed(t *testing.T) {
	ctx := context.Background()
	f := backendtest.NewFaulty(memory.New(memory.Config{}), 1)
	src := newSource("k", "old")
	cfg := over(src, f)
	cfg.Local.Disabled = true
	c := open(t, cfg)
	v, err := c.Get(ctx, "k")
	want(t, v, err, "old")
	f.Inject(backendtest.Fault{Op: backendtest.OpDelete})
	f.Inject(backendtest.Fault{Op: backendtest.OpDeleteMany, Times: -1})
	src.set("k", "new")
	wantErr(t, c.Invalidate(ctx, "k"), ErrQueued)
	f.After(func(op backendtest.Op, _ string) {
		if op == backendtest.OpGetMany || op == backendtest.OpAcquireMany {
			f.Heal()
			if err := c.levels[0].attempt(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	m, err := c.GetMany(ctx, []string{"k"})
	if err != nil || m["k"] != "new" {
		t.Errorf("got %v, %v; the process that invalidated reads the old value", m, err)
	}
}

// The farther tier could not be told. Until it is, another process copies the old value from there
// to the nearer one, which has been told already: it has to be told again.
func TestInvalidate_WhatAFartherTierOwesIsOwedByTheNearerToo(t *testing.T) {
	run := func(t *testing.T) (during, after string) {
		ctx := context.Background()
		near, far := memory.New(memory.Config{}), memory.New(memory.Config{})
		broken := backendtest.NewFaulty(far, 1)
		src := newSource("k", "old")
		cfg := over(src, near, far)
		cfg.Local.Disabled = true
		other := open(t, cfg)
		cfg.Remotes[1].Store = broken
		c := open(t, cfg)
		v, err := c.Get(ctx, "k")
		want(t, v, err, "old")
		for _, op := range []backendtest.Op{backendtest.OpDelete, backendtest.OpDeleteMany} {
			broken.Inject(backendtest.Fault{Op: op, Times: -1})
		}
		src.set("k", "new")
		wantErr(t, c.Invalidate(ctx, "k"), ErrQueued)
		v, err = other.Get(ctx, "k")
		want(t, v, err, "old") // from the farther tier
		quiet(t, other)        // and copied
		if during, err = c.Get(ctx, "k"); err != nil {
			t.Error(err)
		}
		broken.Heal()
		owed := func() int { return c.levels[0].owed.depth() + c.levels[1].owed.depth() }
		for deadline := time.Now().Add(faultRecover); owed() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not delivered: %+v", c.Health())
			}
		}
		if after, err = other.Get(ctx, "k"); err != nil {
			t.Error(err)
		}
		return during, after
	}
	if during, after := run(t); during != "new" || after != "new" {
		t.Errorf("got %q while it was owed, %q afterwards", during, after)
	}
	defer fence.Remove(fence.Outbox)()
	if during, after := run(t); during != "old" || after != "old" {
		t.Errorf("without the outbox: %q and %q; the test cannot see what it is for", during, after)
	}
}
