package fallback

import (
	"testing"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/backendtest"
)

// Two writers reach new in one order and old in the other. Old keeps nothing that new has not.
func TestBoth_WritersInDifferentOrderLeaveNoTwoValues(t *testing.T) {
	type call func(p *pair, value string)
	set := func(p *pair, value string) { p.ok(p.s.Set(t.Context(), "k", text(value))) }
	setMany := func(p *pair, value string) {
		p.ok(first(p.s.SetMany(t.Context(), []backends.KeyItem{{Key: "k", Item: text(value)}})...))
	}
	remove := func(p *pair, _ string) { p.ok(p.s.Delete(t.Context(), "k")) }
	for name, row := range map[string]struct {
		late, between call
		want          string
	}{
		"set, set":         {set, set, "two"},
		"batch, batch":     {setMany, setMany, "two"},
		"set, then delete": {set, remove, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, PhaseNew, func(c *Config) { c.Both = true })
			held := false
			p.o.Before(func(op backendtest.Op, _ string) {
				if (op == backendtest.OpSet || op == backendtest.OpSetMany) && !held {
					held = true
					row.between(p, "two")
				}
			})
			row.late(p, "one")
			if !held {
				t.Fatal("nothing came between")
			}
			p.holds(p.fresh, "k", row.want)
			p.holds(p.old, "k", "")
			row.late(p, "three")
			p.holds(p.fresh, "k", "three")
			p.holds(p.old, "k", "three")
		})
	}
}
