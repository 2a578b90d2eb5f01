package backends_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

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
