package redisstream_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hearthcache/hearth/internal/faultproxy/faultproxytest"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/journaltest"
	"github.com/hearthcache/hearth/writebehind/redisstream"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1, PoolSize: 64})
	t.Cleanup(func() { c.Close() })
	return c
}

func open(t *testing.T, cfg redisstream.Config) *redisstream.Journal {
	t.Helper()
	j, err := redisstream.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// owned is a journal whose process owns every partition, as the suite asks for.
type owned struct {
	*redisstream.Journal
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func (o *owned) Close() error {
	o.cancel()
	o.done.Wait()
	return o.Journal.Close()
}

func own(t *testing.T, client *redis.Client, cfg redisstream.Config) *owned {
	o := &owned{Journal: open(t, cfg)}
	ctx, cancel := context.WithCancel(t.Context())
	o.cancel = cancel
	o.done.Go(func() { o.Consume(ctx, func(writebehind.Delivery) {}) })
	for p := range cfg.Partitions {
		for client.Exists(t.Context(), fmt.Sprintf("{%s}:owner:%d", cfg.Name, p)).Val() == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	return o
}

func TestJournal(t *testing.T) {
	client := newClient(t, serverstest.Redis(t).Addr())
	journaltest.Run(t, func(t *testing.T) writebehind.Journal {
		return own(t, client, redisstream.Config{Client: client, Name: filepath.Base(t.Name()), Partitions: 3, Lease: 300 * time.Millisecond})
	})
}

func TestOpen_AnotherNumberOfPartitionsIsRefused(t *testing.T) {
	client := newClient(t, serverstest.Redis(t).Addr())
	open(t, redisstream.Config{Client: client, Name: "q", Partitions: 3})
	if _, err := redisstream.Open(t.Context(), redisstream.Config{Client: client, Name: "q", Partitions: 4}); err == nil {
		t.Error("keys would have changed their stream, and lost their order")
	}
}

func TestOpen_ServerThatWouldEvictTheQueueIsRefused(t *testing.T) {
	server := serverstest.Redis(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	serverstest.Real(t, server) // the stand-in has no eviction
	client := newClient(t, server.Addr())
	_, err := redisstream.Open(t.Context(), redisstream.Config{Client: client, Name: "q"})
	if err == nil || !strings.Contains(err.Error(), "allkeys-lru") {
		t.Errorf("accepted writes could be evicted: %v", err)
	}
	if err := client.ConfigSet(t.Context(), "maxmemory-policy", "volatile-lru").Err(); err != nil {
		t.Fatal(err)
	}
	open(t, redisstream.Config{Client: client, Name: "q"}) // streams have no TTL
}

func TestCommit_FullPartitionRefuses(t *testing.T) {
	client := newClient(t, serverstest.Redis(t).Addr())
	j := open(t, redisstream.Config{Client: client, Name: "q", Partitions: 1, MaxLen: 10})
	rec := writebehind.Record{Key: "k", Kind: writebehind.Set}
	for i := range 11 {
		err := j.Commit(t.Context(), &writebehind.Tx{Put: []writebehind.Record{rec}})
		if full := errors.Is(err, writebehind.ErrFull); full != (i == 10) || err != nil && !full {
			t.Errorf("record %d: %v", i, err)
		}
	}
}

func TestCommit_LostAnswerIsUnknownAndNeverSentAgain(t *testing.T) {
	proxy := faultproxytest.New(t, serverstest.Redis(t).Addr())
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr(), ContextTimeoutEnabled: true, MaxRetries: 3})
	t.Cleanup(func() { client.Close() })
	j := open(t, redisstream.Config{Client: client, Name: "q", Partitions: 1})
	rec := writebehind.Record{Key: "k", Kind: writebehind.Delta}
	commit := func() error { return j.Commit(t.Context(), &writebehind.Tx{Put: []writebehind.Record{rec}}) }
	if err := commit(); err != nil { // the server has the script now
		t.Fatal(err)
	}
	lost := proxy.SwallowReply(true)
	if err := commit(); !errors.Is(err, tier.ErrUnknown) {
		t.Errorf("got %v", err)
	}
	<-lost
	n := 0
	if err := j.Replay(t.Context(), func(writebehind.Record) error { n++; return nil }); err != nil || n != 2 {
		t.Errorf("%d records, %v, after two commits of one", n, err)
	}
}

// sink keeps what it was given.
type sink struct {
	mu   sync.Mutex
	rows map[string]string
	seqs map[string]uint64
	bad  []string
	hold chan struct{} // when set, Apply waits for it or the end of its context
	took chan string
}

func (s *sink) Apply(ctx context.Context, ops []writebehind.Op[string]) error {
	if s.hold != nil {
		select {
		case s.took <- ops[0].Key:
		default:
		}
		select {
		case <-s.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range ops {
		if o.Value == "bad" {
			return writebehind.Permanent(errors.New("constraint"))
		}
		if o.Seq < s.seqs[o.Key] {
			s.bad = append(s.bad, o.Key)
		}
		s.seqs[o.Key], s.rows[o.Key] = o.Seq, o.Value
	}
	return nil
}

func newSink() *sink { return &sink{rows: map[string]string{}, seqs: map[string]uint64{}} }

func writer(t *testing.T, client *redis.Client, s *sink) *writebehind.Writer[string] {
	t.Helper()
	w, err := writebehind.New(writebehind.Config[string]{
		Sink:    s,
		Journal: open(t, redisstream.Config{Client: client, Name: "q", Partitions: 4, Lease: 300 * time.Millisecond}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		w.Close(ctx)
	})
	return w
}

func put(t *testing.T, w *writebehind.Writer[string], key, value string) *writebehind.Ack {
	t.Helper()
	ack, err := w.Enqueue(t.Context(), writebehind.Change[string]{Mutation: tier.Mutation[string]{Key: key, Value: value}})
	if err != nil {
		t.Fatal(err)
	}
	return ack
}

func TestWriter_TwoProcessesOneOwnerPerKey(t *testing.T) {
	client := newClient(t, serverstest.Redis(t).Addr())
	s := newSink()
	a, b := writer(t, client, s), writer(t, client, s)
	for i := range 300 {
		w := a
		if i%2 == 1 {
			w = b
		}
		put(t, w, fmt.Sprint("k", i%7), fmt.Sprint(i))
	}
	if m, ok := b.Pending("k5"); ok && m.Value != "299" && m.Value != "292" {
		t.Errorf("pending %v", m)
	}
	for _, w := range []*writebehind.Writer[string]{a, b} {
		if err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for k := range 7 {
		want := 0
		for i := range 300 {
			if i%7 == k {
				want = i
			}
		}
		if got := s.rows[fmt.Sprint("k", k)]; got != fmt.Sprint(want) {
			t.Errorf("k%d ends as %s, want %d", k, got, want)
		}
	}
	if len(s.bad) > 0 {
		t.Errorf("out of order: %v", s.bad)
	}
	if n, _ := client.XLen(t.Context(), "{q}:stream:0").Result(); n > 100 {
		t.Errorf("%d entries left", n)
	}
	if _, ok := a.Pending("k0"); ok {
		t.Error("still pending after a flush")
	}
}

func TestWriter_AnotherProcessTakesOverWhatWasRead(t *testing.T) {
	server := serverstest.Redis(t)
	doomed := newClient(t, server.Addr())
	stuck := newSink()
	stuck.hold, stuck.took = make(chan struct{}), make(chan string, 1)
	a := writer(t, doomed, stuck)
	put(t, a, "k", "1")
	<-stuck.took // read, being applied, and never settled
	put(t, a, "k", "2")
	doomed.Close() // as a process that is cut off; its lease runs out

	s := newSink()
	b := writer(t, newClient(t, server.Addr()), s)
	put(t, b, "k", "3")
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.rows["k"] != "3" || len(s.bad) > 0 || len(stuck.rows) > 0 {
		t.Errorf("the successor ends with %v, out of order %v; the predecessor applied %v", s.rows, s.bad, stuck.rows)
	}
}

func TestWriter_DeadLettersAreSharedAndRedriven(t *testing.T) {
	client := newClient(t, serverstest.Redis(t).Addr())
	s := newSink()
	a, b := writer(t, client, s), writer(t, client, s)
	var dead *writebehind.DeadError
	for i, w := range []*writebehind.Writer[string]{a, b} {
		key := fmt.Sprint("poison", i)
		if err := put(t, w, key, "bad").Wait(t.Context()); !errors.As(err, &dead) {
			t.Errorf("ack: %v", err)
		}
	}
	put(t, a, "poison0", "good").Wait(t.Context())
	var left []writebehind.DeadLetter[string]
	for { // the letter is void once the newer write has been settled in the journal
		var err error
		if left, err = b.DeadLetters(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(left) == 1 {
			break
		}
		if t.Context().Err() != nil {
			t.Fatalf("letters %v", left)
		}
		time.Sleep(time.Millisecond)
	}
	if left[0].Op.Key != "poison1" || left[0].Reason != "constraint" {
		t.Errorf("letter %+v", left[0])
	}
	if n, err := b.Redrive(t.Context()); n != 1 || err != nil {
		t.Errorf("redriven %d, %v", n, err)
	}
}

func TestCommit_ProcessThatLostItsLeaseSettlesNothing(t *testing.T) {
	client := newClient(t, serverstest.Redis(t).Addr())
	run := func(name string, unfenced bool) int64 {
		j := own(t, client, redisstream.Config{Client: client, Name: name, Partitions: 1, Lease: time.Second})
		defer j.Close()
		redisstream.SetUnfenced(j.Journal, unfenced)
		tx := &writebehind.Tx{Put: []writebehind.Record{{Key: "k", Kind: writebehind.Set}}}
		if err := j.Commit(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
		// Another process has taken over while this one was paused.
		if err := client.Set(t.Context(), "{"+name+"}:owner:0", "successor", 0).Err(); err != nil {
			t.Fatal(err)
		}
		dead := tx.Put[0]
		dead.Dead = "late"
		ref := writebehind.Ref{Key: "k", Seq: tx.Put[0].Seq, State: true}
		if err := j.Commit(t.Context(), &writebehind.Tx{Put: []writebehind.Record{dead}, Remove: []writebehind.Ref{ref}}); err != nil {
			t.Fatal(err)
		}
		return client.XLen(t.Context(), "{"+name+"}:stream:0").Val()
	}
	if n := run("fenced", false); n != 1 {
		t.Errorf("%d records left, want the one that the successor is to apply", n)
	}
	if n := run("unfenced", true); n != 0 {
		t.Errorf("without the token %d records are left: the test could not have seen the bug", n)
	}
}
