package backendtest

import (
	"bytes"
	"errors"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
)

func needRawGet(h Harness, _ backends.Caps) bool { return h.RawGet != nil }
func needRawSet(h Harness, _ backends.Caps) bool { return h.RawSet != nil }

var rawCases = []Case{
	{
		Name:  "raw/ForeignClientsReadTheSameBytes",
		Why:   "during a migration the old code base reads what the new one wrote",
		needs: needRawGet,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "plain\r\n\x00")
			got, err := e.RawGet(k)
			if err != nil || string(got) != "plain\r\n\x00" {
				e.Fatalf("raw get: %q, %v", got, err)
			}
			e.delete(k)
			_, err = e.RawGet(k)
			e.is(err, backends.ErrMiss, "raw get of an absent key")
		},
	},
	{
		Name:  "raw/ForeignValuesAreRead",
		Why:   "during a migration the new code base reads what the old one wrote",
		needs: needRawSet,
		run: func(e *env) {
			k := e.key("k")
			e.ok(e.RawSet(k, []byte("foreign")), "raw set")
			e.holds(k, "foreign")
			if e.caps.CASer != nil {
				e.ok(e.caps.CASer.CompareAndSwap(e.ctx, k, e.token(k), item("ours")), "compare-and-swap of a foreign value")
				e.holds(k, "ours")
			}
		},
	},
	{
		Name:  "raw/LeaseIsAPlaceholderOrNothing",
		Why:   "a foreign reader must be able to tell a lease from a record by its first byte",
		needs: both(needRawGet, needLeaser),
		run: func(e *env) {
			k := e.key("k")
			l := e.acquire(k, hour)
			raw, err := e.RawGet(k)
			if !errors.Is(err, backends.ErrMiss) && (err != nil || wire.KindOf(raw) != wire.Lease) {
				e.Errorf("raw get of a leased key: %q, %v", raw, err)
			}
			e.ok(l.Fill(e.ctx, item("v")), "fill")
			raw, err = e.RawGet(k)
			if err != nil || !bytes.Equal(raw, []byte("v")) {
				e.Errorf("raw get of a filled key: %q, %v", raw, err)
			}
		},
	},
	{
		Name:  "raw/TombstoneCarriesItsVersion",
		Why:   "every process and every script reads the mark the same way",
		needs: both(needRawGet, needTombstoner),
		run: func(e *env) {
			k := e.key("k")
			e.ok(e.caps.Tombstoner.DeleteHold(e.ctx, k, hour, 77), "deletehold")
			raw, err := e.RawGet(k)
			if err != nil || wire.KindOf(raw) != wire.Tombstone || wire.VersionOf(raw) != 77 {
				e.Errorf("raw get of a held-off key: %q, %v", raw, err)
			}
		},
	},
	{
		Name: "raw/ForeignWriteEndsALease",
		Why:  "a fill must not overwrite what another code base has just written",
		needs: both(needRawSet, func(_ Harness, c backends.Caps) bool {
			return c.Leaser != nil
		}),
		run: func(e *env) {
			k := e.key("k")
			l := e.acquire(k, hour)
			e.ok(e.RawSet(k, []byte("foreign")), "raw set")
			e.is(l.Fill(e.ctx, item("stale")), backends.ErrLeaseLost, "fill")
			e.holds(k, "foreign")
		},
	},
}
