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
