package backends_test

import (
	"reflect"
	"testing"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/memory"
)

// plain hides everything but the three methods.
type plain struct{ backends.Store }

// modest is a composite that has the methods of a memory store and claims only one capability.
type modest struct{ *memory.Store }

func (m modest) Caps() backends.Caps { return backends.Caps{TTLer: m.Store, MaxValueBytes: 7} }

// fields lists the capabilities of c that are set.
func fields(c backends.Caps) []string {
	var set []string
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			set = append(set, v.Type().Field(i).Name)
		}
	}
	return set
}

func TestCapsOf_PlainStoreCanNothingMore(t *testing.T) {
	if got := fields(backends.CapsOf(plain{memory.New(memory.Config{})})); len(got) != 0 {
		t.Errorf("a store of three methods can %v", got)
	}
}

func TestCapsOf_LeafCanWhatItImplements(t *testing.T) {
	got := fields(backends.CapsOf(memory.New(memory.Config{MaxValueBytes: 9})))
	all := reflect.TypeFor[backends.Caps]().NumField()
	// Memory has no client to warn about, signed counters, and batches that are one request; it keeps keys
	// as they are, in one place.
	if len(got) != all-5 {
		t.Errorf("memory can %v, %d of %d", got, len(got), all)
	}
}

func TestCapsOf_CompositeSaysItself(t *testing.T) {
	c := backends.CapsOf(modest{memory.New(memory.Config{})})
	if got := fields(c); len(got) != 2 || c.TTLer == nil || c.MaxValueBytes != 7 {
		t.Errorf("a composite's own record was not taken: %v", got)
	}
}

func TestPrefix_CanExactlyWhatTheStoreCan(t *testing.T) {
	full := memory.New(memory.Config{MaxValueBytes: 9})
	everything := reflect.ValueOf(backends.CapsOf(full))
	for i := range everything.NumField() {
		// A store that can one thing only, each in turn.
		one := reflect.New(everything.Type()).Elem()
		one.Field(i).Set(everything.Field(i))
		inner := &stated{Store: full, caps: one.Interface().(backends.Caps)}
		p, err := backends.Prefix(inner, "p:")
		if err != nil {
			t.Fatal(err)
		}
		name, wrapped := everything.Type().Field(i).Name, reflect.ValueOf(p.Caps()).Field(i)
		if keyless := name == "Pinger" || name == "Warner"; wrapped.Kind() == reflect.Interface && !wrapped.IsNil() && !keyless && wrapped.Interface() != any(p) {
			t.Errorf("%s is the store's own: its keys would lack the prefix", name)
		}
		can := p.Caps()
		if can.KeyPrefix != inner.caps.KeyPrefix+"p:" {
			t.Errorf("it says that the prefix is %q", can.KeyPrefix)
		}
		can.KeyPrefix = inner.caps.KeyPrefix
		got, want := fields(can), fields(inner.caps)
		if len(got) != len(want) || len(got) == 1 && got[0] != want[0] {
			t.Errorf("a store that can %v became one that can %v", want, got)
		}
	}
}

// stated is a store with any record of capabilities.
type stated struct {
	backends.Store
	caps backends.Caps
}

func (s *stated) Caps() backends.Caps { return s.caps }
