package tier

import (
	"context"
	"sync"
	"testing"

	"github.com/hearthcache/hearth/backends/memory"
)

func TestSet_ThroughAWriterWithoutRemotesIsKept(t *testing.T) {
	src := &record{source: newSource()}
	cfg := over(nil)
	cfg.Writer = src
	c := open(t, cfg)
	if err := c.Set(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	v, err := c.Get(t.Context(), "k")
	want(t, v, err, "v")
}

// overtaken lets one writer of a cache write the source first and come back last; it returns what
// the cache holds then, "" for nothing. versions: the writes carry them.
func overtaken(t *testing.T, cfg Config[string], versions bool) string {
	src := &record{source: newSource()}
	wrote, goOn := make(chan struct{}), make(chan struct{})
	cfg.Writer = &firstWaits{record: src, wrote: wrote, goOn: goOn}
	c := open(t, cfg)
	set := func(v string, version uint64) {
		o := SetOptions{}
		if versions {
			o.Version = version
		}
		if err := c.SetWith(context.Background(), "k", v, o); err != nil {
			t.Error(err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { set("first", 1) })
	<-wrote
	set("second", 2)
	close(goOn)
	wg.Wait()
	v, _ := c.Get(t.Context(), "k")
	return v
}

// firstWaits writes, and lets the first caller come back only when told to.
type firstWaits struct {
	*record
	wrote, goOn chan struct{}
	once        sync.Once
}

func (w *firstWaits) Write(ctx context.Context, ms []Mutation[string]) error {
	err := w.record.Write(ctx, ms)
	first := false
	w.once.Do(func() { first = true })
	if first {
		close(w.wrote)
		<-w.goOn
	}
	return err
}

func TestSet_OvertakenWriterLeavesNothingOld(t *testing.T) {
	for name, cfg := range map[string]func() Config[string]{
		"local":            func() Config[string] { return over(nil) },
		"remote":           func() Config[string] { return over(nil, newProbe()) },
		"two remotes":      func() Config[string] { return over(nil, newProbe(), newProbe()) },
		"remote, no lease": func() Config[string] { return over(nil, plainStore{memory.New(memory.Config{})}) },
	} {
		for _, versions := range []bool{false, true} {
			if v := overtaken(t, cfg(), versions); v == "first" {
				t.Errorf("%s (versions %v): the cache holds the value that was overwritten in the source", name, versions)
			}
		}
	}
}

// A write that carries a version is fenced by the lease like any other: after a delete there is no
// version left in the cache that could refuse it.
func TestSet_WithAVersionDoesNotBringADeletedRecordBack(t *testing.T) {
	for _, name := range []string{"lease", "no lease"} {
		src, p := &record{source: newSource()}, newProbe()
		cfg := over(nil, p)
		if name == "no lease" {
			cfg = over(nil, plainStore{memory.New(memory.Config{})})
		}
		wrote, goOn := make(chan struct{}), make(chan struct{})
		cfg.Writer = &firstWaits{record: src, wrote: wrote, goOn: goOn}
		c := open(t, cfg)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := c.SetWith(context.Background(), "k", "v", SetOptions{Version: 7}); err != nil {
				t.Error(err)
			}
		})
		<-wrote
		if err := c.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		close(goOn)
		wg.Wait()
		_, err := c.Get(t.Context(), "k")
		wantErr(t, err, ErrMiss)
	}
}
