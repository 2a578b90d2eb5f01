package tier

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
	"github.com/hearthcache/hearth/codec"
	"github.com/hearthcache/hearth/internal/flight"
)

func TestNew_NamesTheFieldThatIsWrong(t *testing.T) {
	store := memory.New(memory.Config{})
	one := []Remote{{Name: "a", Store: store}}
	var nilStore *memory.Store
	var nilLoader *source
	var nilWriter *record
	var nilLink *hollowPart
	bag := bagStore{store, []int{1}}
	prefixed, err := backends.Prefix(store, "p:")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, field string
		cfg         Config[string]
	}{
		{"no store at all", "Config.Remotes: no store", Config[string]{Local: Local[string]{Disabled: true}}},
		{"duplicate names", `Remotes[1].Name: "a" is taken`, Config[string]{Remotes: []Remote{one[0], one[0]}}},
		{"reserved name", `Remotes[0].Name: "L1" is taken`, Config[string]{Remotes: []Remote{{Name: "L1", Store: store}}}},
		{"no name", "Remotes[0].Name: empty", Config[string]{Remotes: []Remote{{Store: store}}}},
		{"nil store", `Remotes[0].Store: tier "a" has none: give it one`, Config[string]{Remotes: []Remote{{Name: "a"}}}},
		{"typed nil store", `Remotes[0].Store: tier "a" has a nil *memory.Store: look at the error`, Config[string]{Remotes: []Remote{{Name: "a", Store: nilStore}}}},
		{"one store twice", `Remotes[1].Store: the one of tier "a" again`, Config[string]{Remotes: []Remote{{Name: "a", Store: store}, {Name: "b", Store: store}}}},
		{"one store twice, two apart", `Remotes[2].Store: the one of tier "a" again`, Config[string]{Remotes: []Remote{{Name: "a", Store: store}, {Name: "b", Store: newProbe()}, {Name: "c", Store: store}}}},
		{"beside stores that cannot be compared", "Config.TTL", Config[string]{Remotes: []Remote{{Name: "a", Store: bag}, {Name: "b", Store: bag}}, TTL: -1}},
		{"typed nil loader", "Config.Loader: a nil *tier.source", Config[string]{Remotes: one, Loader: nilLoader}},
		{"nil loader function", "Config.Loader: a nil tier.LoaderFunc[string]", Config[string]{Remotes: one, Loader: LoaderFunc[string](nil)}},
		{"typed nil writer", "Config.Writer: a nil *tier.record", Config[string]{Remotes: one, Writer: nilWriter}},
		{"typed nil observer", "Config.Observer: a nil *tier.hollowPart", Config[string]{Remotes: one, Observer: nilLink}},
		{"nil observer function", "Config.Observer: a nil tier.ObserverFunc", Config[string]{Remotes: one, Observer: ObserverFunc(nil)}},
		{"typed nil invalidator", "Config.Local.Invalidator: a nil *tier.hollowPart", Config[string]{Remotes: one, Local: Local[string]{Invalidator: nilLink}}},
		{"invalidator of another namespace", `Config.Local.Invalidator: an ear for usr hears of another namespace, not of "user"`, Config[string]{Namespace: "user", Remotes: one, Local: Local[string]{Invalidator: ear{"usr", nil}}}},
		{"dead before the next sign of life", `Config.Local.DeadAfter: 1s is not above the Ping of Local.Invalidator, 1s`, Config[string]{Remotes: one, Local: Local[string]{DeadAfter: time.Second, Invalidator: slow{time.Second, nil}}}},
		{"dead before the next sign of life, by default", `Config.Local.DeadAfter: 3s is not above the Ping of Local.Invalidator, 1m0s`, Config[string]{Remotes: one, Local: Local[string]{Invalidator: slow{time.Minute, nil}}}},
		{"the server's word over two tiers", "Config.Local.Invalidator: a keyhole: it is told by one server of keys that it holds, and there are 2 remote tiers", Config[string]{Remotes: []Remote{one[0], {Name: "b", Store: newProbe()}}, Local: Local[string]{Invalidator: keyhole{}}}},
		{"the server's word over a store of several", "Config.Local.Invalidator: a keyhole: it is told by one server of keys that it holds, and the remote tier keeps them in several places", Config[string]{Remotes: []Remote{{Name: "a", Store: plain{store, backends.Caps{Split: true}}}}, Local: Local[string]{Invalidator: keyhole{}}}},
		{"the server's word over a prefixed store", `Config.Local.Invalidator: a keyhole: it hears of keys that the server knows with the prefix "", and the store gives them the prefix "p:"`, Config[string]{Remotes: []Remote{{Name: "a", Store: prefixed}}, Local: Local[string]{Invalidator: keyhole{}}}},
		{"an invalidator that fits nothing", "Config.Local.Invalidator: selective: fits nothing", Config[string]{Remotes: one, Local: Local[string]{Invalidator: selective{errors.New("fits nothing"), nil}}}},
		{"typed nil outbox", "Config.Outbox: a nil *tier.hollowPart", Config[string]{Remotes: one, Outbox: nilLink}},
		{"typed nil codec", "Config.Format.Codec: a nil *tier.hollowPart", Config[string]{Remotes: one, Format: codec.Config[string]{Codec: nilLink}}},
		{"typed nil codec without remotes", "Config.Format.Codec: a nil *tier.hollowPart", Config[string]{Format: codec.Config[string]{Codec: nilLink}}},
		{"typed nil reader", "Config.Format.Readers[1]: a nil *tier.hollowPart", Config[string]{Remotes: one, Format: codec.Config[string]{Readers: []codec.Codec[string]{codec.JSON[string](), nilLink}}}},
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

// ear is an Invalidator that hears of one namespace.
type ear struct {
	namespace string
	backends.Invalidator
}

func (e ear) Hears(namespace string) bool { return e.namespace == namespace }
func (e ear) String() string              { return "an ear for " + e.namespace }

// slow is an Invalidator that says how often it gives a sign of life.
type slow struct {
	pace time.Duration
	backends.Invalidator
}

func (s slow) Pace() time.Duration { return s.pace }

func TestNew_TakesADeadAfterThatLeavesTimeForASignOfLife(t *testing.T) {
	for _, l := range []Local[string]{
		{DeadAfter: time.Second + 1, Invalidator: slow{time.Second, deaf{}}},
		{DeadAfter: time.Second, Invalidator: deaf{}},                                    // does not say
		{DeadAfter: time.Second, Invalidator: slow{time.Second, deaf{}}, Disabled: true}, // nobody waits for it
	} {
		open(t, Config[string]{Remotes: []Remote{{Name: "a", Store: memory.New(memory.Config{})}}, Local: l})
	}
}

// keyhole is a source that hears of what one server holds.
type keyhole struct{ deaf }

func (keyhole) StoredOnly() bool { return true }
func (keyhole) String() string   { return "a keyhole" }

// selective is a source that says what it fits.
type selective struct {
	answer error
	backends.Invalidator
}

func (c selective) Fits([]backends.Caps) error { return c.answer }
func (c selective) StoredOnly() bool           { return true }
func (c selective) String() string             { return "selective" }

// plain is a store with these plain capabilities.
type plain struct {
	*memory.Store
	caps backends.Caps
}

func (p plain) Limits() backends.Caps { return p.caps }

// Where nobody is told too little, nothing is refused.
func TestNew_TakesAnInvalidatorThatHearsWhatTheStoresHold(t *testing.T) {
	store := memory.New(memory.Config{})
	prefixed, err := backends.Prefix(store, "p:")
	if err != nil {
		t.Fatal(err)
	}
	one, two := []Remote{{Name: "a", Store: store}}, []Remote{{Name: "a", Store: store}, {Name: "b", Store: newProbe()}}
	for _, c := range []Config[string]{
		{Remotes: one, Local: Local[string]{Invalidator: keyhole{}}},
		{Local: Local[string]{Invalidator: keyhole{}}},                               // the loader may read that server
		{Remotes: two, Local: Local[string]{Invalidator: keyhole{}, Disabled: true}}, // nobody is told
		{Remotes: two, Local: Local[string]{Invalidator: deaf{}}},                    // it is told by processes
		{Remotes: []Remote{{Name: "a", Store: prefixed}}, Local: Local[string]{Invalidator: deaf{}}},
		{Remotes: two, Local: Local[string]{Invalidator: selective{nil, deaf{}}}}, // it knows better
	} {
		open(t, c)
	}
}

// deaf is an Invalidator that hears nothing.
type deaf struct{}

func (deaf) Watch(ctx context.Context, _ backends.Sink) error { <-ctx.Done(); return ctx.Err() }
func (deaf) Publish(context.Context, []string) error          { return nil }
func (deaf) PublishFlush(context.Context) error               { return nil }

// hollowPart is every optional part of a Config in one; a nil one panics when it is used.
type hollowPart struct {
	backends.Invalidator
	Observer
	OutboxLog
	codec.Codec[string]
}

// bagStore is a store that == panics on.
type bagStore struct {
	*memory.Store
	bag any
}

func TestNew_TakesStoresThatCannotBeCompared(t *testing.T) {
	bag := bagStore{memory.New(memory.Config{}), []int{1}}
	open(t, Config[string]{Remotes: []Remote{{Name: "a", Store: bag}, {Name: "b", Store: bag}}})
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

func TestCalls_SayWhatIsWrongWithThem(t *testing.T) {
	ctx, boom := t.Context(), func(context.Context, string) (string, error) { panic("boom") }
	one := func(_ string, err error) error { return err }
	many := func(_ map[string]string, err error) error { return err }
	look := func(_ Entry[string], err error) error { return err }
	name := func(id int) string { return fmt.Sprint(id) }
	load := func(context.Context, int) (string, error) { return "v", nil }
	panics := new(PanicError)
	for _, tc := range []struct {
		name, says string
		is         error // nil: whatever it is
		call       func(c *Cache[string]) error
	}{
		{"Get without a key", "cache: get: ", ErrEmptyKey, func(c *Cache[string]) error { return one(c.Get(ctx, "")) }},
		{"GetOrLoad without a key", "cache: get: ", ErrEmptyKey, func(c *Cache[string]) error { return one(c.GetOrLoad(ctx, "", boom)) }},
		{"GetMany without a key", "cache: get: ", ErrEmptyKey, func(c *Cache[string]) error { return many(c.GetMany(ctx, []string{"k", ""})) }},
		{"Lookup without a key", "cache: lookup: ", ErrEmptyKey, func(c *Cache[string]) error { return look(c.Lookup(ctx, "")) }},
		{"Set without a key", "cache: set: ", ErrEmptyKey, func(c *Cache[string]) error { return c.Set(ctx, "", "v") }},
		{"SetMany without a key", "cache: set: ", ErrEmptyKey, func(c *Cache[string]) error { return c.SetMany(ctx, map[string]string{"": "v"}) }},
		{"Delete without a key", "cache: delete: ", ErrEmptyKey, func(c *Cache[string]) error { return c.Delete(ctx, "") }},
		{"Invalidate without a key", "cache: invalidate: ", ErrEmptyKey, func(c *Cache[string]) error { return c.Invalidate(ctx, "k", "") }},
		{"Update without a key", "cache: update: ", ErrEmptyKey, func(c *Cache[string]) error {
			return one(c.Update(ctx, "", func(old string, _ bool) (string, error) { return old, nil }))
		}},
		{"Increment without a key", "cache: increment: ", ErrEmptyKey, func(c *Cache[string]) error {
			_, err := c.Increment(ctx, "", 1, IncrementOptions{})
			return err
		}},
		{"no function", "GetOrLoad with a nil function", errNilLoad, func(c *Cache[string]) error { return one(c.GetOrLoad(ctx, "k", nil)) }},
		{"no function, and the key is in L1", "GetOrLoad with a nil function", errNilLoad, func(c *Cache[string]) error { return one(c.GetOrLoad(ctx, "hit", nil)) }},
		{"no function for many", "GetOrLoad with a nil function", errNilLoad, func(c *Cache[string]) error { return many(c.GetOrLoadMany(ctx, []string{"k"}, nil)) }},
		{"no function to update", `update "k" with a nil function`, nil, func(c *Cache[string]) error { return one(c.Update(ctx, "k", nil)) }},
		{"Memoize nothing", "Memoize with a nil fn", nil, func(c *Cache[string]) error { return one(Memoize[int, string](c, name, nil)(ctx, 7)) }},
		{"Memoize without names", "Memoize with a nil key function", nil, func(c *Cache[string]) error { return one(Memoize(c, nil, load)(ctx, 7)) }},
		{"Memoize nowhere", "Memoize with a nil cache", nil, func(*Cache[string]) error { return one(Memoize(nil, name, load)(ctx, 7)) }},
		{"NewKeyed without names", "NewKeyed with a nil key function", nil, func(c *Cache[string]) error { return NewKeyed[int](c, nil).Set(ctx, 7, "v") }},
		{"NewKeyed of nothing", "NewKeyed with a nil cache", nil, func(*Cache[string]) error {
			return look(NewKeyed[int, string](nil, name).Lookup(ctx, 7))
		}},
		{"a loader that panics", `load of "k": panic: boom`, panics, func(c *Cache[string]) error { return one(c.GetOrLoad(ctx, "k", boom)) }},
		{"a loader that leaves", `load of "k": `, flight.ErrGoexit, func(c *Cache[string]) error {
			return one(c.GetOrLoad(ctx, "k", func(context.Context, string) (string, error) { runtime.Goexit(); return "", nil }))
		}},
		{"a loader of many that panics", `load of 2 keys, the first "`, panics, func(c *Cache[string]) error {
			return many(c.GetOrLoadMany(ctx, []string{"k", "l"}, func(context.Context, []string) (map[string]string, error) { panic("boom") }))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := open(t, over(nil, newProbe()))
			if err := c.Set(ctx, "hit", "v"); err != nil {
				t.Fatal(err)
			}
			err := tc.call(c)
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("%v does not say %q", err, tc.says)
			}
			switch tc.is {
			case nil:
			case panics:
				if p, ok := errors.AsType[*PanicError](err); !ok || p.Value != "boom" {
					t.Errorf("%v is no PanicError", err)
				}
			default:
				wantErr(t, err, tc.is)
			}
		})
	}
}
