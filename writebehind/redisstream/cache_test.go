package redisstream_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/redisstream"
	"github.com/redis/go-redis/v9"
)

// record is a source of record with a switch.
type record struct {
	*sink
	down chan struct{} // closed: it takes writes
}

var errDown = errors.New("source is down")

func (r *record) Apply(ctx context.Context, ops []writebehind.Op[string]) error {
	select {
	case <-r.down:
	default:
		return errDown
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range ops {
		if o.Seq < r.seqs[o.Key] {
			r.bad = append(r.bad, o.Key)
		}
		if r.seqs[o.Key] = o.Seq; o.Delete {
			delete(r.rows, o.Key)
		} else {
			r.rows[o.Key] = o.Value
		}
	}
	return nil
}

// Load makes it one that a cache can read.
func (r *record) Load(_ context.Context, key string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, ok := r.rows[key]; ok {
		return v, nil
	}
	return "", tier.ErrMiss
}

// process is a cache that writes through the stream, with a client of its own.
type process struct {
	*tier.Cache[string]
	w      *writebehind.Writer[string]
	client *redis.Client
}

func start(t *testing.T, addr string, store backends.Store, source *record, s writebehind.Sink[string]) *process {
	t.Helper()
	p := &process{client: newClient(t, addr)}
	w, err := writebehind.New(writebehind.Config[string]{
		Sink: s, Linger: -1, RetryMin: time.Millisecond, RetryMax: 5 * time.Millisecond,
		Journal: open(t, redisstream.Config{Client: p.client, Name: "q", Partitions: 4, Lease: 300 * time.Millisecond}),
	})
	if err != nil {
		t.Fatal(err)
	}
	p.w, p.Cache = w, reader(t, store, source, w)
	t.Cleanup(p.end)
	return p
}

// end is the end of a process that does not wait for the source.
func (p *process) end() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p.w.Close(ctx)
}

func reader(t *testing.T, store backends.Store, source *record, w tier.Writer[string]) *tier.Cache[string] {
	t.Helper()
	c, err := tier.New(tier.Config[string]{
		Namespace: "n", Loader: source, Writer: w, TTL: time.Hour, Local: tier.Local[string]{Disabled: true},
		Remotes: []tier.Remote{{Name: "shared", Store: store, Timeout: 5 * time.Second}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// holds checks what c reads under key; "" is a miss.
func holds(t *testing.T, c *tier.Cache[string], key, want string) {
	t.Helper()
	v, err := c.Get(t.Context(), key)
	if v != want || (err != nil) != (want == "") || err != nil && !errors.Is(err, tier.ErrMiss) {
		t.Errorf("%s: %q, %v, want %q", key, v, err, want)
	}
}

// becomes waits until c reads want under key.
func becomes(t *testing.T, c *tier.Cache[string], key, want string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		v, err := c.Get(t.Context(), key)
		if v == want && (err == nil) == (want != "") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %q, %v, want %q", key, v, err, want)
		}
	}
}

func TestCache_ReadsItsWritesAndTheNextProcessDeliversThem(t *testing.T) {
	addr := serverstest.Redis(t).Addr()
	store := memory.New(memory.Config{})
	source := &record{sink: newSink(), down: make(chan struct{})}
	source.rows["k"], source.rows["gone"] = "old", "old"
	bystander := reader(t, store, source, nil)
	a := start(t, addr, store, source, source)
	for _, k := range []string{"k", "gone"} {
		holds(t, a.Cache, k, "old") // the shared tier has it now
		holds(t, bystander, k, "old")
	}
	set := func(p *process, key, v string) {
		t.Helper()
		if err := p.Set(t.Context(), key, v); err != nil {
			t.Fatal(err)
		}
	}
	set(a, "k", "1")
	if err := a.Delete(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	holds(t, a.Cache, "k", "1")
	holds(t, a.Cache, "gone", "") // a pending delete is a miss, and is not loaded
	holds(t, bystander, "k", "old")
	if err := a.Invalidate(t.Context(), "k", "gone"); err != nil {
		t.Fatal(err)
	}
	holds(t, a.Cache, "k", "1")
	holds(t, a.Cache, "gone", "")

	a.end() // it has read its writes and applied none
	b := start(t, addr, store, source, source)
	becomes(t, b.Cache, "k", "1") // claimed from a, and pending here
	becomes(t, b.Cache, "gone", "")
	set(b, "k", "2")
	holds(t, b.Cache, "k", "2")
	close(source.down)
	if err := b.w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	holds(t, b.Cache, "k", "2")
	becomes(t, bystander, "k", "2")
	becomes(t, bystander, "gone", "") // written before b was there: not part of its Flush
	if len(source.bad) > 0 || b.w.Stats().Unreported > 0 {
		t.Errorf("out of order %v, stats %+v", source.bad, b.w.Stats())
	}
}

func TestCache_DeadConsumersWritesAreClaimedAndReported(t *testing.T) {
	addr := serverstest.Redis(t).Addr()
	store := memory.New(memory.Config{})
	source := &record{sink: newSink(), down: make(chan struct{})}
	close(source.down)
	source.rows["k"] = "old"
	bystander := reader(t, store, source, nil)
	holds(t, bystander, "k", "old")

	stuck := newSink()
	stuck.hold, stuck.took = make(chan struct{}), make(chan string, 1)
	a := start(t, addr, store, source, stuck)
	if err := a.Set(t.Context(), "k", "new"); err != nil {
		t.Fatal(err)
	}
	<-stuck.took     // read, being applied, and never settled
	a.client.Close() // as a process that is cut off
	holds(t, a.Cache, "k", "new")
	holds(t, bystander, "k", "old")

	b := start(t, addr, store, source, source)
	becomes(t, bystander, "k", "new")
	holds(t, b.Cache, "k", "new")
	if st := b.w.Stats(); st.Applied != 1 || st.Unreported != 0 || len(stuck.rows) > 0 {
		t.Errorf("stats %+v; the dead one applied %v", st, stuck.rows)
	}
}
