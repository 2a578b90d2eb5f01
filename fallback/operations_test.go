package fallback

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// operation is one row: what it returns in one process after another one has stored "5", and
// what can be read then.
type operation struct {
	name string
	do   func(ctx context.Context, s *Store, key string) string
	why  string

	seen   string // the outcome where this process sees the value,
	unseen string // and where it does not: it is in a store that this process does not read
	after  string // what this process reads then; "" = what it read before
	blind  string // as after, if the value was not seen; "" = as after
	drops  bool   // it drops a value that it does not see, so that the next one succeeds
}

// outcome names what came back.
func outcome(err error, ok string) string {
	for name, e := range map[string]error{
		"exists": backends.ErrExists, "conflict": backends.ErrConflict, "older": backends.ErrOlder,
		"no number": backends.ErrNotNumber, "unknown": backends.ErrUnknown,
	} {
		if errors.Is(err, e) {
			return name
		}
	}
	switch {
	case err == nil:
		return ok
	case errors.Is(err, backends.ErrMiss):
		return "miss"
	}
	return err.Error()
}

func readBack(ctx context.Context, s *Store, key string) string {
	it, err := s.Get(ctx, key)
	return outcome(err, string(it.Value))
}

// token is that of the version this process sees; of none, some other one of its authority.
func token(ctx context.Context, s *Store, key string) backends.Token {
	if it, err := s.Get(ctx, key); err == nil {
		return it.Token
	}
	other := "other " + key
	for s.Phase().mode(other) != s.Phase().mode(key) {
		other += "'"
	}
	_ = s.Set(ctx, other, text("other"))
	it, _ := s.Get(ctx, other)
	return it.Token
}

var operations = []operation{
	{
		name: "get", seen: "5", unseen: "miss", why: "a read",
		do: readBack,
	}, {
		name: "get-many", seen: "5", unseen: "miss", why: "as get, per key",
		do: func(ctx context.Context, s *Store, key string) string {
			r := s.GetMany(ctx, []string{"none of these", key})[1]
			return outcome(r.Err, string(r.Item.Value))
		},
	}, {
		name: "get-ttl", seen: "lives", unseen: "miss", why: "the lifetime survives a copy",
		do: func(ctx context.Context, s *Store, key string) string {
			it, err := s.GetTTL(ctx, key)
			if err == nil && (it.TTL < 59*time.Minute || it.TTL > time.Hour+2*time.Second) {
				return it.TTL.String()
			}
			return outcome(err, "lives")
		},
	}, {
		name: "set", seen: "ok", unseen: "ok", after: "6", why: "a write replaces whatever either store has",
		do: func(ctx context.Context, s *Store, key string) string {
			return outcome(s.Set(ctx, key, text("6")), "ok")
		},
	}, {
		name: "set-many", seen: "ok", unseen: "ok", after: "6", why: "as set, per key",
		do: func(ctx context.Context, s *Store, key string) string {
			return outcome(first(s.SetMany(ctx, []backends.KeyItem{{Key: key, Item: text("6")}})...), "ok")
		},
	}, {
		name: "delete", seen: "ok", unseen: "ok", after: "miss", why: "both stores forget",
		do: func(ctx context.Context, s *Store, key string) string { return outcome(s.Delete(ctx, key), "ok") },
	}, {
		name: "delete-many", seen: "ok", unseen: "ok", after: "miss", why: "as delete, per key",
		do: func(ctx context.Context, s *Store, key string) string {
			return outcome(first(s.DeleteMany(ctx, []string{key})...), "ok")
		},
	}, {
		name: "delete-hold", seen: "ok", unseen: "ok", after: "miss", why: "both stores forget, and refuse fills",
		do: func(ctx context.Context, s *Store, key string) string {
			if err := s.DeleteHold(ctx, key, time.Minute, 0); err != nil {
				return outcome(err, "")
			}
			l, it, err := s.Acquire(ctx, key, time.Minute)
			if !errors.Is(err, backends.ErrHeldOff) {
				return fmt.Sprintf("then a fill has lease %v, value %q, error %v", l, it.Value, err)
			}
			return "ok"
		},
	}, {
		name: "cas", seen: "ok", unseen: "miss", after: "6", blind: "miss",
		why: "a version that is seen can be swapped in whichever store answers; one that is not is gone",
		do: func(ctx context.Context, s *Store, key string) string {
			return outcome(s.CompareAndSwap(ctx, key, token(ctx, s, key), text("6")), "ok")
		},
	}, {
		name: "compare-and-delete", seen: "ok", unseen: "miss", after: "miss", why: "as cas",
		do: func(ctx context.Context, s *Store, key string) string {
			_ = readBack(ctx, s, key) // a value of old is promoted by the first read
			return outcome(s.CompareAndDelete(ctx, key, token(ctx, s, key)), "ok")
		},
	}, {
		name: "touch", seen: "ok", unseen: "miss", why: "the value is brought along, and lives longer",
		do: func(ctx context.Context, s *Store, key string) string {
			if err := s.Touch(ctx, key, 2*time.Hour); err != nil {
				return outcome(err, "")
			}
			it, err := s.GetTTL(ctx, key)
			if err == nil && (it.TTL < 119*time.Minute || it.TTL > 2*time.Hour+2*time.Second) {
				return "then it lives " + it.TTL.String()
			}
			return outcome(err, "ok")
		},
	}, {
		name: "acquire", seen: "filled: 5", unseen: "lease", after: "", why: "there is nothing to load where the value is seen",
		do: func(ctx context.Context, s *Store, key string) string {
			l, it, err := s.Acquire(ctx, key, time.Minute)
			if l != nil {
				return outcome(l.Release(ctx), "lease")
			}
			return outcome(err, "filled: "+string(it.Value))
		},
	}, {
		name: "acquire and fill", seen: "filled: 5", unseen: "ok", blind: "5", why: "what is loaded is what the source holds",
		do: func(ctx context.Context, s *Store, key string) string {
			l, it, err := s.Acquire(ctx, key, time.Minute)
			if l != nil {
				return outcome(l.Fill(ctx, text("5")), "ok")
			}
			return outcome(err, "filled: "+string(it.Value))
		},
	}, {
		name: "seize and fill", seen: "ok", unseen: "ok", after: "6", why: "a write-through replaces whatever either store has",
		do: func(ctx context.Context, s *Store, key string) string {
			l, err := s.Seize(ctx, key, time.Minute)
			if err != nil {
				return outcome(err, "")
			}
			if got := readBack(ctx, s, key); got != "miss" {
				return "while seized: " + got
			}
			return outcome(l.Fill(ctx, text("6")), "ok")
		},
	}, {
		name: "refresh", seen: "ok", unseen: "none", after: "6", blind: "miss", why: "a version that is seen can be replaced",
		do: func(ctx context.Context, s *Store, key string) string {
			_ = readBack(ctx, s, key) // a value of old is promoted by the first read
			it, err := s.Get(ctx, key)
			if err != nil {
				return "none"
			}
			l, err := s.AcquireRefresh(ctx, key, it.Token, time.Minute)
			if err != nil {
				return outcome(err, "")
			}
			return outcome(l.Fill(ctx, text("6")), "ok")
		},
	},
}

// together are the operations whose outcome does not depend on whether the value is seen, since
// they ask both stores: only a store that nobody reads yet, or any more, is left out.
var together = []operation{
	{
		name: "add", seen: "exists", unseen: "ok", drops: true, why: "a value in either store is one",
		do: func(ctx context.Context, s *Store, key string) string {
			return outcome(s.Add(ctx, key, text("6")), "ok")
		},
	}, {
		name: "increment", seen: "6", unseen: "1", why: "there is one counter, wherever it is",
		do: func(ctx context.Context, s *Store, key string) string {
			n, err := s.Increment(ctx, key, 1, 1, time.Hour)
			return outcome(err, strconv.FormatInt(n, 10))
		},
	}, {
		name: "set-newer", seen: "older", unseen: "ok", why: "the version in either store counts",
		do: func(ctx context.Context, s *Store, key string) string {
			return outcome(s.SetNewer(ctx, key, text("6")), "ok")
		},
	},
}

// side is one of two processes: the phase it is in, and what that means for the key at hand.
type side struct {
	s *Store
	mode
}

// sees reports whether a reads what b has stored.
func (a side) sees(b side) bool {
	switch {
	case a.mode == modeRetire:
		return b.newAnswers() // old is no longer read
	case a.mode == modeNew:
		return true // new, then old
	}
	return !b.newAnswers() // old only
}

// asks reports whether a takes what b has stored into account in an operation on both stores.
func (a side) asks(b side) bool {
	return a.sees(b) || a.mode == modeMirror
}

func TestOperations_InEveryPhaseAndNextToEveryOther(t *testing.T) {
	m, r := memcachedStore(t), redisStore(t)
	phases := []Phase{PhaseOld, PhaseMirror, Ramp(50), PhaseNew, PhaseRetire}
	for _, to := range []struct {
		name     string
		old, new backends.Store
	}{{"memcached to redis", m, r}, {"redis to memcached", r, m}} {
		for _, p := range phases {
			for _, q := range phases {
				if !p.Compatible(q) {
					continue
				}
				t.Run(fmt.Sprintf("%s/%v after %v", to.name, q, p), func(t *testing.T) {
					t.Parallel()
					open := func(phase Phase, copies int) *Store {
						return must(t, Config{New: patient(to.new), Old: []Member{patient(to.old)}, Phase: phase, MaxCopies: copies})
					}
					one, two := open(p, -1), open(q, 0) // a copy in the background would be seen or not
					for i := range 4 {                  // keys of both halves of a ramp
						testOperations(t, fmt.Sprint(to.name, p, q, i), one, two)
					}
				})
			}
		}
	}
}

func testOperations(t *testing.T, key string, first, second *Store) {
	ctx := t.Context()
	start := func(op operation) (k string, one, two side) {
		k = op.name + " " + key
		one, two = side{first, first.Phase().mode(k)}, side{second, second.Phase().mode(k)}
		if err := one.s.Set(ctx, k, text("5")); err != nil {
			t.Errorf("%s: set: %v", k, err)
		}
		return k, one, two
	}
	for _, op := range operations {
		k, one, two := start(op)
		want, after, visible := op.seen, op.after, two.sees(one)
		if !visible {
			want = op.unseen
			if op.blind != "" {
				after = op.blind
			}
		}
		unchanged := after == ""
		if unchanged && visible {
			after = "5"
		} else if unchanged {
			after = "miss"
		}
		if got := op.do(ctx, two.s, k); got != want {
			t.Errorf("%s: got %q, want %q: %s", k, got, want, op.why)
		}
		if got := readBack(ctx, two.s, k); got != after {
			t.Errorf("%s: then it reads %q, want %q: %s", k, got, after, op.why)
		}
		switch got := readBack(ctx, one.s, k); {
		case got == after:
		case got == "miss" && !one.sees(two):
		case got == "5" && (unchanged || want == "miss" || want == "none"):
		default:
			t.Errorf("%s: the other process reads %q after %q: %s", k, got, after, op.why)
		}
	}
	for _, op := range together {
		k, one, two := start(op)
		want := op.seen
		if !two.asks(one) {
			want = op.unseen
		}
		if got := op.do(ctx, two.s, k); got != want {
			t.Errorf("%s: got %q, want %q: %s", k, got, want, op.why)
		}
		switch got := readBack(ctx, one.s, k); {
		case got == "miss" && (!one.sees(two) || op.drops && !two.sees(one)), got == want, want == "ok" && got == "6", want != "ok" && want != "6" && got == "5":
		default:
			t.Errorf("%s: the other process reads %q after %q: %s", k, got, want, op.why)
		}
	}
}
