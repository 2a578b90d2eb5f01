package tier

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
)

func TestNew_NamesTheFieldThatIsWrong(t *testing.T) {
	store := memory.New(memory.Config{})
	one := []Remote{{Name: "a", Store: store}}
	var nilStore *memory.Store
	var nilLoader *source
	for _, tc := range []struct {
		name, field string
		cfg         Config[string]
	}{
		{"no store at all", "Config.Remotes: no store", Config[string]{Local: Local[string]{Disabled: true}}},
		{"duplicate names", `Remotes[1].Name: "a" is taken`, Config[string]{Remotes: []Remote{one[0], one[0]}}},
		{"reserved name", `Remotes[0].Name: "L1" is taken`, Config[string]{Remotes: []Remote{{Name: "L1", Store: store}}}},
		{"no name", "Remotes[0].Name: empty", Config[string]{Remotes: []Remote{{Store: store}}}},
		{"nil store", "Remotes[0].Store: nil", Config[string]{Remotes: []Remote{{Name: "a"}}}},
		{"typed nil store", "Remotes[0].Store: nil", Config[string]{Remotes: []Remote{{Name: "a", Store: nilStore}}}},
		{"typed nil loader", "Config.Loader", Config[string]{Remotes: one, Loader: nilLoader}},
		{"negative TTL", "Config.TTL", Config[string]{Remotes: one, TTL: -1}},
		{"negative level TTL", "Remotes[0].TTL", Config[string]{Remotes: []Remote{{Name: "a", Store: store, TTL: -time.Second}}}},
		{"negative timeout", "Remotes[0].Timeout", Config[string]{Remotes: []Remote{{Name: "a", Store: store, Timeout: -1}}}},
		{"fresh beyond TTL", "Config.Fresh", Config[string]{Remotes: one, TTL: 1, Fresh: 2}},
		{"jitter of one", "Config.Jitter", Config[string]{Remotes: one, Jitter: 1}},
		{"namespace with a colon", "Config.Namespace", Config[string]{Remotes: one, Namespace: "a:b"}},
		{"negative size", "Local.MaxBytes", Config[string]{Local: Local[string]{MaxBytes: -1}}},
		{"unknown policy", "Local.WhenDown", Config[string]{Local: Local[string]{WhenDown: 9}}},
		{"early fraction of one", "Load.EarlyAt", Config[string]{Remotes: one, Load: Load{EarlyAt: 1}}},
		{"negative loads", "Load.MaxConcurrent", Config[string]{Remotes: one, Load: Load{MaxConcurrent: -1}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := New(tc.cfg)
			if err == nil {
				c.Close(t.Context())
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tc.field) {
				t.Errorf("%q does not say %q", err, tc.field)
			}
		})
	}
}

func TestNew_RefusesATypeNoCodecCanHold(t *testing.T) {
	_, err := New(Config[chan int]{Remotes: []Remote{{Name: "a", Store: memory.New(memory.Config{})}}})
	if err == nil || !strings.Contains(err.Error(), "chan int") {
		t.Errorf("got %v", err)
	}
}

func TestNew_NamesEverythingThatIsWrongAtOnce(t *testing.T) {
	_, err := New(Config[string]{TTL: -1, NegativeTTL: -1})
	if err == nil || !strings.Contains(err.Error(), "Config.TTL") || !strings.Contains(err.Error(), "Config.NegativeTTL") {
		t.Errorf("got %v", err)
	}
}

func TestNew_LocalCacheHoldsWhatNoCodecCan(t *testing.T) {
	c := open(t, Config[func() int]{})
	if err := c.Set(t.Context(), "k", func() int { return 7 }); err != nil {
		t.Fatal(err)
	}
	f, err := c.Get(t.Context(), "k")
	if err != nil || f() != 7 {
		t.Error(err)
	}
}

func TestClose_EverythingIsRefusedAfterwards(t *testing.T) {
	c, err := New(over(newSource("k", "v"), newProbe()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	_, err1 := c.Get(ctx, "k")
	_, err2 := c.GetMany(ctx, []string{"k"})
	_, err3 := c.Lookup(ctx, "k")
	for i, err := range []error{err1, err2, err3, c.Set(ctx, "k", "v"), c.SetMany(ctx, map[string]string{"k": "v"}), c.Delete(ctx, "k"), c.Invalidate(ctx, "k")} {
		if err != ErrClosed {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

func TestGet_RefusesAnEmptyKey(t *testing.T) {
	c := open(t, over(nil, newProbe()))
	_, err := c.Get(t.Context(), "")
	wantErr(t, err, backends.ErrEmptyKey)
	_, err = c.GetOrLoad(t.Context(), "k", nil)
	wantErr(t, err, errNilLoad)
}
