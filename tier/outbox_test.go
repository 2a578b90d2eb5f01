package tier

import (
	"context"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/internal/faultproxy"
	"github.com/hearthcache/hearth/internal/fence"
)

// A replica that lags behind when the delete is delivered would bring the record back: what was
// queued holds fills off like what was not.
func TestOutbox_QueuedHoldOffBeginsWithTheDelivery(t *testing.T) {
	for _, row := range []struct {
		name string
		then func(t *testing.T, c *Cache[string]) // while the tier is down
		why  string
	}{
		{"alone", func(*testing.T, *Cache[string]) {}, "it was asked for"},
		{"then a plain delete", func(t *testing.T, c *Cache[string]) {
			wantErr(t, c.Invalidate(t.Context(), "k"), ErrQueued)
		}, "the replica still lags"},
		{"then a shorter one", func(t *testing.T, c *Cache[string]) {
			wantErr(t, c.DeleteWith(t.Context(), "k", DeleteOptions{HoldOff: time.Millisecond}), ErrQueued)
		}, "the longer one is owed too"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				shared := memory.New(memory.Config{})
				f := backendtest.NewFaulty(shared, 1)
				c := open(t, over(nil, f))
				src := newSource("k", "lagging")
				other := open(t, over(src, shared))
				if err := c.Set(ctx, "k", "old"); err != nil {
					t.Fatal(err)
				}
				f.Down(true)
				wantErr(t, c.DeleteWith(ctx, "k", DeleteOptions{HoldOff: time.Minute}), ErrQueued)
				row.then(t, c)
				time.Sleep(10 * time.Minute) // far more than the hold-off
				f.Down(false)
				time.Sleep(30 * time.Second) // delivered, at the latest with the next probe
				if n := c.Health().Remotes[0].Owed; n != 0 {
					t.Fatalf("%d still owed", n)
				}
				for range 2 {
					v, err := other.Get(ctx, "k")
					want(t, v, err, "lagging")
				}
				if src.count() != 2 {
					t.Errorf("%d loads, want 2, none of them filled: %s", src.count(), row.why)
				}
				time.Sleep(time.Minute)
				for range 2 {
					v, err := other.Get(ctx, "k")
					want(t, v, err, "lagging")
				}
				if src.count() != 3 {
					t.Errorf("%d loads, want 3: the hold-off has run out", src.count())
				}
			})
		})
	}
}

// The version from which on writes are welcome is queued with the hold-off.
func TestOutbox_QueuedHoldOffKeepsItsVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		f := backendtest.NewFaulty(memory.New(memory.Config{}), 1)
		c := open(t, over(nil, f))
		f.Down(true)
		wantErr(t, c.DeleteWith(ctx, "k", DeleteOptions{HoldOff: time.Hour, Version: 7}), ErrQueued)
		f.Down(false)
		time.Sleep(time.Minute)
		if err := c.SetWith(ctx, "k", "seven", SetOptions{Version: 7}); err == nil {
			t.Error("the deleted version was written again")
		}
		if err := c.SetWith(ctx, "k", "eight", SetOptions{Version: 8}); err != nil {
			t.Error(err)
		}
	})
}

// What is owed of both kinds goes to a tier that fails in the middle and comes back.
func TestOutbox_HoldOffsAndPlainOnesAreAllDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		f := backendtest.NewFaulty(memory.New(memory.Config{}), 1)
		c := open(t, over(nil, f))
		f.Down(true)
		for i := range 10 {
			wantErr(t, c.DeleteWith(ctx, "held"+string(rune('0'+i)), DeleteOptions{HoldOff: time.Hour}), ErrQueued)
			wantErr(t, c.Delete(ctx, "plain"+string(rune('0'+i))), ErrQueued)
		}
		f.Down(false)
		f.Inject(backendtest.Fault{Op: backendtest.OpDeleteHold, Key: "t:held3", Times: 2})
		time.Sleep(time.Minute)
		if s := c.Stats().Remotes[0]; s.Owed != 0 || s.Delivered != 20 {
			t.Errorf("%+v, want 20 delivered and none owed", s)
		}
	})
}

func TestDelete_HoldOffIsRefusedWithAWriterThatDefers(t *testing.T) {
	w := &later{pending: map[string]Mutation[string]{}, src: newSource()}
	cfg := over(nil, newProbe())
	cfg.Writer = w
	c := open(t, cfg)
	wantErr(t, c.DeleteWith(t.Context(), "k", DeleteOptions{HoldOff: time.Second}), ErrUnsupported)
}

// memoryLog is an OutboxLog whose calls can be waited in.
type memoryLog struct {
	mu     sync.Mutex
	owed   map[string]Owed
	settle func() func() // called before keys are settled; what it returns is called afterwards
	owe    func()        // called when keys have been owed
}

func (l *memoryLog) oweCalled(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owe = fn
}

func (l *memoryLog) Owe(_ string, owed []Owed) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range owed {
		l.owed[w.Key] = w
	}
	if l.owe != nil {
		l.owe()
	}
	return nil
}

func (l *memoryLog) Settle(_ string, keys []string) error {
	if l.settle != nil {
		defer l.settle()()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		delete(l.owed, k)
	}
	return nil
}

func (l *memoryLog) Owed(string) (out []Owed, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.owed {
		out = append(out, w)
	}
	return out, nil
}

func (l *memoryLog) all() map[string]Owed {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.owed)
}

// A key fails again while its delivery is being taken out of the log: the log must end up with
// it, else a crash would lose an invalidation that was accepted.
func TestOutboxLog_KeepsWhatFailsAgainWhileItIsSettled(t *testing.T) {
	ctx := context.Background()
	f := backendtest.NewFaulty(memory.New(memory.Config{}), 1)
	log := &memoryLog{owed: map[string]Owed{}}
	cfg := over(nil, f)
	cfg.Outbox = log
	cfg.Remotes[0].Breaker.Disabled = true
	settling, owing, settled := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var once sync.Once
	ended := sync.OnceFunc(func() { close(settled) })
	log.settle = func() func() {
		once.Do(func() {
			close(settling)
			select {
			case <-owing: // it must not come in between
			case <-time.After(50 * time.Millisecond):
			}
		})
		return ended
	}
	c := open(t, cfg)
	f.Down(true)
	wantErr(t, c.Delete(ctx, "k"), ErrQueued)
	f.Down(false)
	<-settling
	f.Down(true)
	log.oweCalled(sync.OnceFunc(func() { close(owing) }))
	wantErr(t, c.DeleteWith(ctx, "k", DeleteOptions{HoldOff: time.Minute}), ErrQueued)
	<-settled
	if got := log.all(); got["k"].HoldOff != time.Minute {
		t.Errorf("the log holds %v, and the cache owes k", got)
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
