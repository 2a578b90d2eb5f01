package backends_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memory"
)

func TestPrefix_RefusesNothingToDo(t *testing.T) {
	for _, s := range []backends.Store{nil, (*memory.Store)(nil)} {
		if _, err := backends.Prefix(s, "p:"); err == nil || !strings.Contains(err.Error(), "nil") {
			t.Errorf("a nil store, %T: %v", s, err)
		}
	}
	if _, err := backends.Prefix(memory.New(memory.Config{}), ""); err == nil {
		t.Error("an empty prefix was taken")
	}
}

func mustPrefix(t *testing.T, s backends.Store, prefix string) backends.Composite {
	t.Helper()
	p, err := backends.Prefix(s, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPrefix_ErrorsNameTheKeyAsTheCallerKnowsIt(t *testing.T) {
	f := backendtest.NewFaulty(memory.New(memory.Config{}), 1)
	p := mustPrefix(t, mustPrefix(t, f, "outer:"), "inner:")
	f.Inject(backendtest.Fault{
		Times: -1,
		Err:   &backends.Error{Op: "get", Store: "s", Key: "outer:inner:k", Err: io.EOF},
	})
	_, get := p.Get(t.Context(), "k")
	many := p.Caps().Batcher.DeleteMany(t.Context(), []string{"", "k"})
	for _, err := range []error{get, p.Set(t.Context(), "k", backends.Item{}), many[1]} {
		e, ok := errors.AsType[*backends.Error](err)
		if !ok || e.Key != "k" || !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the key to be \"k\"", err)
		}
	}
	if !errors.Is(many[0], backends.ErrEmptyKey) {
		t.Errorf("empty key: %v", many[0])
	}
}

func TestPrefix_ScanListsTheNamespaceOnly(t *testing.T) {
	s := memory.New(memory.Config{})
	for _, k := range []string{"a", "p:", "p:1", "p:2", "p2", "q:1"} {
		if err := s.Set(t.Context(), k, backends.Item{}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	err := mustPrefix(t, s, "p:").Caps().Scanner.Scan(t.Context(), "", func(keys []string, _ string) error {
		got = append(got, keys...)
		return nil
	})
	slices.Sort(got)
	if err != nil || !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("got %q, %v", got, err)
	}
}

// listener keeps what it was told to forget.
type listener struct {
	forgotten []string
	flushes   int
}

func (l *listener) Forget(keys []string) { l.forgotten = append(l.forgotten, keys...) }
func (l *listener) Flush(string)         { l.flushes++ }
func (l *listener) Alive()               {}
func (l *listener) Down(error)           {}

func TestPrefix_ListenersHearOfTheirOwnKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Config{})
		p := mustPrefix(t, s, "p:")
		ctx, cancel := context.WithCancel(t.Context())
		heard, ended := &listener{}, make(chan error)
		go func() { ended <- p.Caps().Invalidator.Watch(ctx, heard) }()
		synctest.Wait()
		for _, publish := range []error{
			p.Caps().Invalidator.Publish(t.Context(), []string{"1"}),
			s.Publish(t.Context(), []string{"1", "p:2", "q:3"}),
			s.Publish(t.Context(), []string{"q:4"}),
			s.PublishFlush(t.Context()),
		} {
			if publish != nil {
				t.Error(publish)
			}
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("watch: %v", err)
		}
		if !slices.Equal(heard.forgotten, []string{"1", "2"}) || heard.flushes != 2 {
			t.Errorf("forgot %q, flushed %d times; want 1 and 2, and the first flush and the published", heard.forgotten, heard.flushes)
		}
	})
}

// located tells where its entries are.
type located struct{ *memory.Store }

func (located) Locate(key string) (server, name string, ok bool) { return "here", "own:" + key, true }

func TestPrefix_LocatesWhatTheStoreLocates(t *testing.T) {
	inner := mustPrefix(t, located{memory.New(memory.Config{})}, "in:")
	if server, name, ok := mustPrefix(t, inner, "out:").(backends.Locator).Locate("k"); !ok || server != "here" || name != "own:in:out:k" {
		t.Errorf("%s %s %v", server, name, ok)
	}
	if _, _, ok := mustPrefix(t, memory.New(memory.Config{}), "p:").(backends.Locator).Locate("k"); ok {
		t.Error("a store that cannot tell was said to")
	}
}

// told is a store with a source of what its server holds.
type told struct {
	*memory.Store
	namespace string
}

func (told) StoredOnly() bool              { return true }
func (s told) Hears(namespace string) bool { return s.namespace == namespace }
func (told) Fits(rs []backends.Caps) error { return backends.FitsOne("", rs) }
func (told) Pace() time.Duration           { return 7 * time.Second }

// whisper is an Invalidator that says nothing about itself.
type whisper struct{ backends.Invalidator }

func TestPrefix_TheRecordSaysWhatTheServerKnows(t *testing.T) {
	p := mustPrefix(t, mustPrefix(t, memory.New(memory.Config{}), "in:"), "out:")
	if got := p.Caps().KeyPrefix; got != "in:out:" {
		t.Errorf("the record says %q", got)
	}
	if err := p.Set(t.Context(), "k", backends.Item{}); err != nil {
		t.Fatal(err)
	}
}

// What the store's own source does not hear, a view of it does not hear either.
func TestPrefix_TheInvalidatorOfAStoreKeepsItsLimits(t *testing.T) {
	s := told{memory.New(memory.Config{}), "in:out:user"}
	p := mustPrefix(t, mustPrefix(t, s, "in:"), "out:")
	inv := p.Caps().Invalidator
	if so, ok := inv.(backends.StoredOnly); !ok || !so.StoredOnly() {
		t.Error("what no tier holds would be kept")
	}
	if h, ok := inv.(backends.Selective); !ok || !h.Hears("user") || h.Hears("in:out:user") {
		t.Error("it does not say which namespace it hears")
	}
	if pace, ok := inv.(backends.Paced); !ok || pace.Pace() != 7*time.Second {
		t.Error("it does not say its pace")
	}
	for _, c := range []struct {
		why   string
		store backends.Store
		fits  bool
	}{
		{"it is the view's own", p, true},
		{"the same prefix", mustPrefix(t, s, "in:out:"), true},
		{"keys as they are given", s, false},
		{"another prefix", mustPrefix(t, s, "other:"), false},
		{"less", mustPrefix(t, s, "out:"), false},
		{"more", mustPrefix(t, p, "more:"), false},
	} {
		if err := backends.Fits(inv, []backends.Caps{backends.CapsOf(c.store)}); (err == nil) != c.fits {
			t.Errorf("%s: %v", c.why, err)
		}
	}
	plain := mustPrefix(t, struct {
		backends.Store
		whisper
	}{s.Store, whisper{s.Store}}, "p:").Caps().Invalidator
	if plain.(backends.StoredOnly).StoredOnly() || !plain.(backends.Selective).Hears("any") || plain.(backends.Paced).Pace() != 0 ||
		backends.Fits(plain, []backends.Caps{{}, {Split: true}}) != nil {
		t.Error("a source without limits was given some")
	}
}
