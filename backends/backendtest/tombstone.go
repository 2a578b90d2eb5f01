package backendtest

import (
	"github.com/hearthcache/hearth/backends"
)

var tombstoneCases = []Case{
	{
		Name:  "tombstone/HeldOffKeyIsAMissOfItsOwn",
		Why:   "readers load; nobody takes the mark for a value",
		needs: needTombstoner,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "v")
			e.ok(e.caps.Tombstoner.DeleteHold(e.ctx, k, hour, 0), "deletehold")
			e.getErr(k, backends.ErrHeldOff)
			e.getErr(k, backends.ErrMiss)
			if e.caps.Batcher != nil {
				e.is(e.caps.Batcher.GetMany(e.ctx, []string{k})[0].Err, backends.ErrHeldOff, "getmany")
			}
			if e.caps.TTLer != nil {
				_, err := e.caps.TTLer.GetTTL(e.ctx, k)
				e.is(err, backends.ErrHeldOff, "getttl")
			}
		},
	},
	{
		Name:  "tombstone/FillsAreHeldOff",
		Why:   "a loader that reads a replica behind the source must not bring the record back",
		needs: both(needTombstoner, needLeaser),
		run: func(e *env) {
			k := e.key("k")
			l := e.acquire(k, hour)
			e.ok(e.caps.Tombstoner.DeleteHold(e.ctx, k, hour, 0), "deletehold")
			e.is(l.Fill(e.ctx, item("stale")), backends.ErrLeaseLost, "fill")
			e.ok(l.Release(e.ctx), "release of a lost lease")
			e.getErr(k, backends.ErrHeldOff)
			e.acquireErr(k, backends.ErrHeldOff)
		},
	},
	{
		Name:  "tombstone/AddAndSwapAreHeldOff",
		Why:   "every way in that is not a plain Set is closed",
		needs: both(needTombstoner, needCASer),
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "v")
			tok := e.token(k)
			e.ok(e.caps.Tombstoner.DeleteHold(e.ctx, k, hour, 0), "deletehold")
			e.is(e.caps.CASer.Add(e.ctx, k, item("w")), backends.ErrHeldOff, "add")
			e.is(e.caps.CASer.CompareAndSwap(e.ctx, k, tok, item("w")), backends.ErrMiss, "compare-and-swap")
			e.is(e.caps.CASer.CompareAndDelete(e.ctx, k, tok), backends.ErrMiss, "compare-and-delete")
			e.getErr(k, backends.ErrHeldOff)
		},
	},
	{
		Name:  "tombstone/SetAndDeleteLiftIt",
		Why:   "whoever writes knows the newest; a mark must not outlive a new record",
		needs: needTombstoner,
		run: func(e *env) {
			set, gone := e.key("set"), e.key("gone")
			for _, k := range []string{set, gone} {
				e.ok(e.caps.Tombstoner.DeleteHold(e.ctx, k, hour, 0), "deletehold")
			}
			e.set(set, "new")
			e.holds(set, "new")
			e.delete(gone)
			e.absent(gone)
		},
	},
	{
		Name:  "tombstone/RunsOut",
		Why:   "a hold-off is for the lag of a replica, not for ever",
		needs: needTombstoner,
		waits: true,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "v")
			e.ok(e.caps.Tombstoner.DeleteHold(e.ctx, k, e.unit, 3), "deletehold")
			e.getErr(k, backends.ErrHeldOff)
			e.outlive(e.unit)
			e.absent(k)
			if e.caps.Leaser != nil {
				e.ok(e.acquire(k, hour).Fill(e.ctx, item("w")), "fill")
				e.holds(k, "w")
			}
		},
	},
	{
		Name:  "tombstone/CountsWithItsVersion",
		Why:   "a delete at version 7 must hold against 7 and older, and give way to 8",
		needs: both(needTombstoner, needVersioner),
		run: func(e *env) {
			k := e.key("k")
			e.ok(e.caps.Tombstoner.DeleteHold(e.ctx, k, hour, 7), "deletehold")
			for _, v := range []uint64{1, 6, 7} {
				e.is(e.caps.Versioner.SetNewer(e.ctx, k, versioned(v, "old")), backends.ErrOlder, "setnewer")
			}
			e.is(e.caps.Versioner.SetNewer(e.ctx, k, item("plain")), backends.ErrOlder, "setnewer without a version")
			e.getErr(k, backends.ErrHeldOff)
			e.ok(e.caps.Versioner.SetNewer(e.ctx, k, versioned(8, "new")), "setnewer")
			e.holdsItem(k, versioned(8, "new"))
		},
	},
	{
		Name:  "tombstone/NoHoldIsRefused",
		Why:   "a hold of zero sent as 'no expiry' closes the key for ever",
		needs: needTombstoner,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "v")
			if err := e.caps.Tombstoner.DeleteHold(e.ctx, k, 0, 0); err == nil {
				e.Errorf("deletehold for 0 was taken")
			}
			if err := e.caps.Tombstoner.DeleteHold(e.ctx, k, -hour, 0); err == nil {
				e.Errorf("deletehold for -1h was taken")
			}
			e.is(e.caps.Tombstoner.DeleteHold(e.ctx, "", hour, 0), backends.ErrEmptyKey, "deletehold of the empty key")
			e.holds(k, "v")
		},
	},
}
