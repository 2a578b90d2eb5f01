// Package fallback moves a service from one cache server to another in production, without a
// cold cache, without a stale read, and with a way back at every moment.
//
// A [Store] is made of a new store and one or more old ones. It is a [backends.Store] like any
// other, so the cache above it does not know that there is a migration:
//
//	store, err := fallback.New(fallback.Config{
//		New: fallback.Member{Store: redisStore},
//		Old: []fallback.Member{{Store: memcachedStore}},
//	})
//
// It knows bytes only. It works between any two kinds of servers, and between two server lists
// of one memcached fleet (a store for each list).
//
// # Phases
//
// A migration goes through phases, by [Store.SetPhase] in one process and by [Fleet.Advance] in
// many. The authority is the store whose answer counts.
//
//	phase        read                     set                 delete           copies
//	PhaseOld     old                      old; new forgets    old, then new    none
//	PhaseMirror  old                      old; new forgets    old, then new    hits, in the background
//	Ramp(p)      p % of the keys: new,     as PhaseNew, or     old, then new    what was found in old
//	             then old; others: as     as PhaseMirror
//	             PhaseMirror
//	PhaseNew     new, then old            new; old forgets    old, then new    what was found in old
//	PhaseRetire  new                      new; old forgets    old, then new    none
//
// With Config.Both, what is written and filled where new answers is kept in old as well, so that
// going back is as warm as going forth. Every other operation:
//
//	get-many         per key as get, in one round trip to each store
//	add              asks both stores
//	compare-and-swap the token names its store; one of old is promoted with its value. The other
//	                 store is closed for the key meanwhile, so that of two processes whose
//	                 authorities differ at most one succeeds
//	increment, touch the value is copied first, then changed; the other store forgets it. An
//	                 increment by 0 only reads, and leaves it in both
//	clear            is an increment of the namespace's counter, which every read of a cache with
//	                 barriers asks for by an increment of 0
//	set-if-newer     the version is compared with both stores
//	hold-off         in both, old first
//	lease            of the authority; where that is new, old is looked into under the lease, and
//	                 what is found is copied and returned as "filled meanwhile"
//	seize            both, old first
//	scan             the keys of new, then those of old
//	watch, publish   both
//
// # Why nothing stale is read
//
// Four rules, each of which has a test that sees stale values once the rule is taken out:
//
//   - Order. Deletes go from the source outwards: old, then new, the store that is read first
//     last. A write goes to the authority, and then the other forgets the key.
//   - Lease on copies. A copy takes a lease in new, then reads old, then fills. A delete or a
//     write ends the lease, so a value read before cannot be stored after. A reader that finds
//     the lease taken reads old and copies nothing: whatever had changed before it began was
//     deleted from old before.
//   - Bars. What a store could not be told is owed to it, and tried again until delivered; until
//     then this process does not read that key there. If too much is owed, the store is not
//     read at all until Config.LongestTTL has passed.
//   - Marks. A delete that old could not be told of leaves a hold-off in new, which stops other
//     processes from looking into old, and is renewed until old was told.
//
// Copies keep the remaining lifetime; if nobody can tell it they live for Config.UnknownTTL. They
// never overwrite, carry the bytes undecoded, are shared among callers, and are limited in number
// and rate. A read that old has answered waits for its copy for 25 ms at most; the copy then goes on
// behind it, under its lease. So a new that is slow makes reads no slower than its own answer.
// Values of other clients are copied as Config.Legacy frames them, or as they are
// (Config.LegacyCopies).
//
// # When a server is down
//
// Every member has a deadline, a bulkhead and a breaker of its own. With old down, what new
// answers is not touched, and a key that new lacks is a miss, not a failure: the source of
// record can answer, and a failure would only keep the value from being stored. Progress.Skipped
// counts these. With new down, old answers what it has, which is never older than a completed
// write, since writes made old forget; the rest is a failure. Where some other process may read
// a store that could not be told of a change, the change is reported as an error, though it is
// made in the other store and will be delivered: in PhaseMirror for new, in a Ramp for both, in
// PhaseNew for old ([ErrOwed]: processes that new answers are kept away by a mark there, those
// that it does not answer read old). In PhaseOld (for new) and in PhaseRetire (for old) it is not,
// unless a fleet record says that somebody is behind.
//
// What remains: a process that runs but cannot reach the record stays in its phase (or goes from
// PhaseOld to PhaseMirror), since without the record nobody can advance. If others still reach it,
// leave that process out after FleetConfig.DeadAfter, and go on to PhaseOld or to PhaseRetire, what
// one side does not tell the other's store, because that is down, can be read stale; end such a process
// before you go on without it. If a process dies while it owes old an invalidation, and old comes back after
// Config.Hold, or new loses its memory in between, an old value can be read once more until its
// own lifetime ends. A value that another client writes into the
// store that is not the authority is not fenced; one that it writes into the authority is seen
// as long as that store answers and stays the authority.
//
// Old and new must never be one entry on one server: two server lists of one memcached fleet
// need a prefix in one of them, since some keys have the same owner in both. [New] refuses stores
// that tell it so ([backends.Locator]).
//
// # Several processes
//
// All phases but PhaseOld go together; PhaseOld goes with PhaseMirror only ([Phase.Compatible]).
// [Fleet] keeps a service in step: the phase lives in a record under one key of Redis or
// memcached, every process reports there, and an advance waits until all live processes are
// ready, and names those it waits for: a process is ready for a step that matters when no call is
// running any more that began before the last one. A process that stood still, for longer than
// others wait for it, asks for the phase before its next call. One whose record does not answer
// holds back, and no read waits for it. A change that the store which is not
// the authority missed is no failure where nobody reads that store, but the record says that
// something is owed before the change succeeds. A record that was lost is made anew of what the processes
// remember, the highest revision of it; until all had FleetConfig.DeadAfter to report nobody moves, and who
// was in it and does not report again counts as owing something. [Store.AutoRamp] ramps by itself, as long as hit rate,
// error rate and copies hold, and steps back when they do not.
//
// [Store.Progress] tells how far the migration has come, and until when old is needed.
package fallback
