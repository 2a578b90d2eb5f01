package backendtest

import (
	"bytes"
	"errors"

	"github.com/hearthcache/hearth/backends"
)

var capsCases = []Case{
	{
		Name: "caps/RecordIsStable",
		Why:  "capabilities are resolved once, at construction; a record that changes was checked in vain",
		run: func(e *env) {
			a, b := capNames(backends.CapsOf(e.Store)), capNames(backends.CapsOf(e.Store))
			for name, has := range a {
				if b[name] != has {
					e.Errorf("%s: %v, then %v", name, has, b[name])
				}
			}
		},
	},
	{
		Name: "caps/RecordIsConsistent",
		Why:  "who can lease many can lease one; the cache picks by what is there",
		run: func(e *env) {
			if e.caps.BatchLeaser != nil && e.caps.Leaser == nil {
				e.Errorf("BatchLeaser without Leaser")
			}
			if e.caps.Refresher != nil && e.caps.CASer == nil {
				e.Errorf("Refresher without CASer: there is no token to refresh with")
			}
			if e.caps.MaxValueBytes < 0 {
				e.Errorf("MaxValueBytes %d is negative", e.caps.MaxValueBytes)
			}
		},
	},
	{
		Name: "caps/ClaimedIsSupported",
		Why:  "a capability that answers 'not supported' when it is needed should have been nil",
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "1")
			tok := e.get(k).Token
			for name, call := range e.calls(k, tok) {
				if err := call(); errors.Is(err, errors.ErrUnsupported) {
					e.Errorf("%s is claimed and says %v", name, err)
				}
			}
		},
	},
	{
		Name: "caps/TokensIfAndOnlyIfCASer",
		Why:  "a token that no store takes back is a promise nobody keeps",
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "v")
			if tok := e.get(k).Token; tok.IsZero() == (e.caps.CASer != nil) {
				e.Errorf("CASer %v, zero token %v", e.caps.CASer != nil, tok.IsZero())
			}
		},
	},
	{
		Name:  "caps/PingReachesAServerThatIsThere",
		Why:   "readiness checks depend on it",
		needs: can(func(c backends.Caps) bool { return c.Pinger != nil }),
		run:   func(e *env) { e.ok(e.caps.Pinger.Ping(e.ctx), "ping") },
	},
	{
		Name: "caps/MaxValueBytesIsTheLimit",
		Why:  "the cache refuses by it before it encodes and sends; a wrong one loses values or the old item",
		needs: can(func(c backends.Caps) bool {
			return c.MaxValueBytes > 0 && c.MaxValueBytes <= 8<<20 // beyond that the case costs more than it shows
		}),
		run: func(e *env) {
			k := e.key("k")
			full := backends.Item{Value: bytes.Repeat([]byte("x"), e.caps.MaxValueBytes)}
			e.setItem(k, full)
			e.holdsItem(k, full)
			e.set(k, "old")
			over := backends.Item{Value: append(full.Value, 'x')}
			e.is(e.Store.Set(e.ctx, k, over), backends.ErrTooLarge, "set beyond the limit")
			e.holds(k, "old")
			if e.caps.CASer != nil {
				e.is(e.caps.CASer.CompareAndSwap(e.ctx, k, e.token(k), over), backends.ErrTooLarge, "compare-and-swap beyond the limit")
				e.is(e.caps.CASer.Add(e.ctx, e.key("new"), over), backends.ErrTooLarge, "add beyond the limit")
			}
			if e.caps.Leaser != nil {
				l := e.acquire(e.key("leased"), hour)
				e.is(l.Fill(e.ctx, over), backends.ErrTooLarge, "fill beyond the limit")
				e.ok(l.Fill(e.ctx, item("v")), "fill after a refused fill")
			}
			e.holds(k, "old")
		},
	},
}

// calls is one harmless call to each capability that is claimed.
func (e *env) calls(key string, tok backends.Token) map[string]func() error {
	c, calls := e.caps, map[string]func() error{}
	if c.Batcher != nil {
		calls["Batcher"] = func() error { return c.Batcher.GetMany(e.ctx, []string{key})[0].Err }
	}
	if c.CASer != nil {
		calls["CASer"] = func() error { return c.CASer.Add(e.ctx, key, item("2")) }
	}
	if c.Leaser != nil {
		calls["Leaser"] = func() error { _, _, err := c.Leaser.Acquire(e.ctx, key, hour); return err }
	}
	if c.BatchLeaser != nil {
		calls["BatchLeaser"] = func() error { return c.BatchLeaser.AcquireMany(e.ctx, []string{key}, hour)[0].Err }
	}
	if c.Refresher != nil {
		calls["Refresher"] = func() error { _, err := c.Refresher.AcquireRefresh(e.ctx, key, tok, hour); return err }
	}
	if c.Fencer != nil {
		calls["Fencer"] = func() error { _, err := c.Fencer.Seize(e.ctx, e.key("seized"), hour); return err }
	}
	if c.Versioner != nil {
		calls["Versioner"] = func() error { return c.Versioner.SetNewer(e.ctx, e.key("versioned"), versioned(1, "v")) }
	}
	if c.Tombstoner != nil {
		calls["Tombstoner"] = func() error { return c.Tombstoner.DeleteHold(e.ctx, e.key("held"), hour, 0) }
	}
	if c.Toucher != nil {
		calls["Toucher"] = func() error { return c.Toucher.Touch(e.ctx, key, hour) }
	}
	if c.Incrementer != nil {
		calls["Incrementer"] = func() error {
			_, err := c.Incrementer.Increment(e.ctx, e.key("counter"), 1, 1, hour)
			return err
		}
	}
	if c.TTLer != nil {
		calls["TTLer"] = func() error { _, err := c.TTLer.GetTTL(e.ctx, key); return err }
	}
	if c.Pinger != nil {
		calls["Pinger"] = func() error { return c.Pinger.Ping(e.ctx) }
	}
	if c.Scanner != nil {
		calls["Scanner"] = func() error { return e.scan("", nil) }
	}
	if c.Invalidator != nil {
		calls["Invalidator"] = func() error { return c.Invalidator.Publish(e.ctx, []string{key}) }
	}
	if c.Warner != nil {
		calls["Warner"] = func() error { c.Warner.Warnings(); return nil }
	}
	return calls
}

func capNames(c backends.Caps) map[string]bool {
	return map[string]bool{
		"Batcher": c.Batcher != nil, "CASer": c.CASer != nil, "Leaser": c.Leaser != nil,
		"BatchLeaser": c.BatchLeaser != nil, "Refresher": c.Refresher != nil, "Fencer": c.Fencer != nil,
		"Versioner": c.Versioner != nil, "Tombstoner": c.Tombstoner != nil, "Toucher": c.Toucher != nil,
		"Incrementer": c.Incrementer != nil, "TTLer": c.TTLer != nil, "Pinger": c.Pinger != nil,
		"Scanner": c.Scanner != nil, "Invalidator": c.Invalidator != nil, "Warner": c.Warner != nil,
		"Flags": c.Flags, "Unsigned": c.Unsigned, "Prompt": c.Prompt, "OneByOne": c.OneByOne,
		"MaxValueBytes": c.MaxValueBytes > 0, "KeyPrefix": c.KeyPrefix != "", "Split": c.Split,
	}
}
