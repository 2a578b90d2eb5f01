package backendtest

import (
	"github.com/hearthcache/hearth/backends"
)

var getSetCases = []Case{
	{
		Name: "get_set/AbsentKeyIsAMiss",
		Why:  "a miss makes the cache load; any other error makes it count a failure and open its breaker",
		run:  func(e *env) { e.absent(e.key("k")) },
	},
	{
		Name: "get_set/WhatWasSetIsRead",
		Why:  "it is what a cache is for",
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "one")
			e.holds(k, "one")
			e.holds(k, "one")
		},
	},
	{
		Name: "get_set/SetReplaces",
		Why:  "a replaced value that comes back is a stale read",
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "a long first value")
			e.set(k, "two")
			e.holds(k, "two")
		},
	},
	{
		Name: "get_set/KeysAreSeparate",
		Why:  "one user must never see another user's record",
		run: func(e *env) {
			a, b := e.key("a"), e.key("b")
			e.set(a, "A")
			e.set(b, "B")
			e.delete(a)
			e.missing(a)
			e.holds(b, "B")
		},
	},
	{
		Name: "get_set/DeletedIsGone",
		Why:  "promise C1: after a delete no reader gets the older value",
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "v")
			e.delete(k)
			e.absent(k)
		},
	},
	{
		Name: "get_set/DeleteOfAnAbsentKeyIsFine",
		Why:  "invalidations are repeated after doubt; the second must not fail",
		run: func(e *env) {
			k := e.key("k")
			e.delete(k)
			e.delete(k)
		},
	},
	{
		Name: "get_set/DeletedKeyCanBeSetAgain",
		Why:  "memcached once had deletes that held a key back; a fresh value must be readable at once",
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "v")
			e.delete(k)
			e.set(k, "w")
			e.holds(k, "w")
		},
	},
	{
		Name: "get_set/NegativeTTLIsRefused",
		Why:  "servers read it as immortal or as already gone; both are surprises",
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "old")
			e.is(e.Store.Set(e.ctx, k, itemTTL("new", -1)), backends.ErrInvalidTTL, "set with a negative TTL")
			e.is(e.Store.Set(e.ctx, k, itemTTL("new", -hour)), backends.ErrInvalidTTL, "set with a negative TTL")
			e.holds(k, "old")
		},
	},
	{
		Name: "get_set/TokenIsIgnoredBySet",
		Why:  "an item that was read is written back to other stores as it is",
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "v")
			it := e.get(k)
			it.TTL, it.Value = 0, []byte("w")
			e.delete(k)
			e.setItem(k, it)
			e.holds(k, "w")
		},
	},
	{
		Name: "get_set/FlagsSurviveOrAreZero",
		Why:  "other clients of memcached read flags as the value's type; half-kept flags are worse than none",
		run: func(e *env) {
			k := e.key("k")
			for _, f := range []uint32{0, 1, 0x8000_0001, 0xffff_ffff} {
				e.setItem(k, backends.Item{Value: []byte("v"), Flags: f})
				want := f
				if !e.caps.Flags {
					want = 0
				}
				if got := e.get(k).Flags; got != want {
					e.Errorf("flags %#x: read back %#x, want %#x", f, got, want)
				}
			}
		},
	},
}
