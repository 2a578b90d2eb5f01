package backendtest

import (
	"bytes"
	"errors"
	"math/rand/v2"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/wire"
)

func everyByte() []byte {
	b := make([]byte, 512)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func noise(n int) []byte {
	src, b := rand.New(rand.NewPCG(1, 2)), make([]byte, n)
	for i := range b {
		b[i] = byte(src.Uint32())
	}
	return b
}

// plainValues must come back as they were, whatever they look like.
var plainValues = []struct {
	name  string
	value []byte
}{
	{"empty", []byte{}},
	{"one NUL", []byte{0}},
	{"CR LF", []byte("\r\n")},
	{"END of memcached", []byte("END\r\n")},
	{"VALUE of memcached", []byte("VALUE k 0 1\r\nx\r\nEND\r\n")},
	{"nil of Redis", []byte("$-1\r\n")},
	{"every byte", everyByte()},
	{"number", []byte("12345678901234567890")},
	{"negative number", []byte("-1")},
	{"leading blanks", []byte("  1 ")},
	{"JSON", []byte(`{"a":[1,2,null],"b":"\u0000"}`)},
	{"UTF-8", []byte("größe 日本語 🔥")},
	{"frame", versioned(1<<40, "payload").Value},
	{"shortest frame", versioned(0, "").Value},
	{"too short for a frame", []byte{wire.Magic, byte(wire.Frame), 1}},
	{"too short for a lease", wire.NewLease()[:wire.LeaseLen-1]},
	{"too long for a lease", append(wire.NewLease(), 'x')},
	{"too short for a tombstone", wire.NewTombstone(1)[:wire.TombstoneLen-1]},
	{"too long for a tombstone", append(wire.NewTombstone(1), 'x')},
	{"64 KiB of noise", noise(64 << 10)},
	{"half a MiB of noise", noise(512 << 10)},
}

var valueCases = []Case{
	{
		Name: "values/BytesComeBackAsTheyWere",
		Why:  "a cache that changes a byte hands out a wrong record, or one that no longer decodes",
		run: func(e *env) {
			for _, v := range plainValues {
				k := e.key(v.name)
				e.setItem(k, backends.Item{Value: v.value})
				it, err := e.Store.Get(e.ctx, k)
				if err != nil || !bytes.Equal(it.Value, v.value) {
					e.Errorf("%s: got %.40q, %v", v.name, it.Value, err)
				}
			}
		},
	},
	{
		Name: "values/NilIsEmpty",
		Why:  "an empty value is a value, not a miss",
		run: func(e *env) {
			k := e.key("k")
			e.setItem(k, backends.Item{})
			e.holds(k, "")
		},
	},
	{
		Name:  "values/BytesComeBackFromBatches",
		Why:   "batches take another path through most clients",
		needs: needBatcher,
		run: func(e *env) {
			var entries []backends.KeyItem
			var keys, want []string
			for _, v := range plainValues {
				keys = append(keys, e.key(v.name))
				entries = append(entries, backends.KeyItem{Key: e.key(v.name), Item: backends.Item{Value: v.value}})
				want = append(want, string(v.value))
			}
			e.allOK(e.caps.Batcher.SetMany(e.ctx, entries), "setmany")
			for i, r := range e.caps.Batcher.GetMany(e.ctx, keys) {
				if r.Err != nil || string(r.Item.Value) != want[i] {
					e.Errorf("%s: got %.40q, %v", plainValues[i].name, r.Item.Value, r.Err)
				}
			}
		},
	},
	{
		Name: "values/ReservedFormsAreNeverAWrongValue",
		Why: "bytes that have exactly the form of a lease or a tombstone may be refused, kept, or read as a miss; " +
			"never as something else, and a plain set replaces them",
		run: func(e *env) {
			for name, v := range map[string][]byte{"lease": wire.NewLease(), "tombstone": wire.NewTombstone(9)} {
				k := e.key(name)
				if err := e.Store.Set(e.ctx, k, backends.Item{Value: v}); err == nil {
					it, err := e.Store.Get(e.ctx, k)
					if err == nil && !bytes.Equal(it.Value, v) || err != nil && !errors.Is(err, backends.ErrMiss) {
						e.Errorf("%s: got %q, %v", name, it.Value, err)
					}
				}
				e.set(k, "plain")
				e.holds(k, "plain")
			}
		},
	},
	{
		Name: "values/OldAndNewDoNotShareMemory",
		Why:  "a value that was handed out is read by others while the key changes",
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "first")
			it := e.get(k)
			e.set(k, "other")
			if string(it.Value) != "first" {
				e.Errorf("a value that was handed out turned into %q", it.Value)
			}
			e.delete(k)
			if string(it.Value) != "first" {
				e.Errorf("a value that was handed out turned into %q", it.Value)
			}
		},
	},
}
