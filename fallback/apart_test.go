package fallback

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
	"github.com/hearthcache/hearth/backends/memcached"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func prefixed(t *testing.T, s backends.Store, prefix string) backends.Store {
	t.Helper()
	p, err := backends.Prefix(s, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestNew_RefusesListsThatShareEntries(t *testing.T) {
	list := make([]memcached.Server, 9)
	for i := range list {
		list[i].Addr = fmt.Sprintf("10.0.0.%d:11211", i+1)
	}
	from := func(servers ...memcached.Server) backends.Store {
		return memcachedFleet(t, memcached.Modulo, "", servers)
	}
	to := func(prefix string, servers ...memcached.Server) backends.Store {
		return memcachedFleet(t, memcached.Ketama, prefix, servers)
	}
	mapped, _ := PrefixKeys("old:")
	for _, row := range []struct {
		name   string
		fresh  backends.Store
		olds   []backends.Store
		oldKey func(string) string
		with   string // the member that new shares entries with; "" = none
	}{
		{"three become five", to("", list[:5]...), []backends.Store{from(list[:3]...)}, nil, "old"},
		{"one server in common", to("", list[4:]...), []backends.Store{from(list[:5]...)}, nil, "old"},
		{"the same list", from(list...), []backends.Store{from(list...)}, nil, "old"},
		{"the same prefix, differently", prefixed(t, to("", list[:5]...), "p:"), []backends.Store{memcachedFleet(t, memcached.Modulo, "p:", list[:3])}, nil, "old"},
		{"the second old one", to("", list[:5]...), []backends.Store{from(list[6:]...), from(list[:3]...)}, nil, "old 2"},
		{"two old ones", to("", list[6:]...), []backends.Store{from(list[:4]...), from(list[:3]...)}, nil, "old 2"},
		{"a prefix", to("v2:", list[:5]...), []backends.Store{from(list[:3]...)}, nil, ""},
		{"a prefix around it", prefixed(t, to("", list[:5]...), "v2:"), []backends.Store{from(list[:3]...)}, nil, ""},
		{"other servers", to("", list[3:]...), []backends.Store{from(list[:3]...)}, nil, ""},
		{"other names in old", to("", list[:5]...), []backends.Store{from(list[:3]...)}, mapped, ""},
	} {
		cfg := Config{New: Member{Store: row.fresh}, OldKey: row.oldKey}
		for _, o := range row.olds {
			cfg.Old = append(cfg.Old, Member{Store: o})
		}
		s, err := New(cfg)
		if err == nil {
			s.Close()
		}
		switch {
		case row.with == "" && err != nil:
			t.Errorf("%s: %v", row.name, err)
		case row.with != "" && (err == nil || !strings.Contains(err.Error(), fmt.Sprintf("and %q keep", row.with)) || !strings.Contains(err.Error(), "Prefix")):
			t.Errorf("%s: %v; want an error that names %q and a prefix", row.name, err, row.with)
		}
	}
}

// What is refused would work like this: a key that stays on its server is taken away by the write
// itself.
func TestNew_ListsThatShareEntriesWouldBeCold(t *testing.T) {
	var list []memcached.Server
	for range 5 {
		list = append(list, memcached.Server{Addr: serverstest.Memcached(t).Addr()})
	}
	hidden := func(s backends.Store) Member { return patient(backendtest.NewFaulty(s, 1)) } // it cannot tell where entries are
	for prefix, cold := range map[string]bool{"": true, "5:": false} {
		old, fresh := memcachedFleet(t, memcached.Modulo, "", list[:3]), memcachedFleet(t, memcached.Ketama, prefix, list)
		s := must(t, Config{New: hidden(fresh), Old: []Member{hidden(old)}, Phase: PhaseNew})
		misses := 0
		for i := range 60 {
			key := fmt.Sprint("shared:", i)
			if err := s.Set(t.Context(), key, text("v")); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Get(t.Context(), key); errors.Is(err, backends.ErrMiss) {
				misses++
			}
		}
		if (misses > 0) != cold {
			t.Errorf("prefix %q: %d of 60 keys are cold", prefix, misses)
		}
	}
}
