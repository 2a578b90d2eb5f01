package tier

import (
	"math"
	"testing"
	"time"
	"unsafe"

	"github.com/hearthcache/hearth/codec"
)

func TestKept_IsTwentyFourBytesBesideTheValue(t *testing.T) {
	if n := unsafe.Sizeof(kept[*int]{}); n != 24+8 {
		t.Errorf("%d bytes with a pointer", n)
	}
	if n := unsafe.Sizeof(kept[[96]byte]{}); n != 24+96 {
		t.Errorf("%d bytes with a value of 96", n)
	}
}

// A negative hit is no plain hit, and makes no entry of what L1 has all the same.
func TestGet_NegativeHitAllocatesNothing(t *testing.T) {
	cfg := over(newSource("k", "v"), newProbe())
	cfg.NegativeTTL = time.Minute
	c := open(t, cfg)
	ctx := t.Context()
	get := func() {
		if _, err := c.Get(ctx, "absent"); err != ErrMiss {
			t.Fatal(err)
		}
	}
	get()
	if n := testing.AllocsPerRun(1000, get); n != 0 {
		t.Errorf("%v allocations a negative hit", n)
	}
}

func TestKept_GivesBackWhatL1IsAskedFor(t *testing.T) {
	const now = int64(1_800_000_000_000)
	const century = int64(100 * 365 * 24 * 3600 * 1000)
	for _, row := range []struct {
		name string
		e    entry[string]
		rare bool
		why  string
	}{
		{"loaded", entry[string]{value: "v", created: now, fresh: now + 30_000, expires: now + 60_000, source: fromLoader, offered: true}, false, "the usual case costs nothing more"},
		{"from a level", entry[string]{value: "v", created: now, expires: now + 1, source: 3, due: true}, false, ""},
		{"the farthest level there is room for", entry[string]{created: now, source: 253}, false, ""},
		{"a farther one", entry[string]{created: now, source: 254, absent: true}, true, ""},
		{"pending", entry[string]{value: "v", created: now, source: fromWriter}, false, ""},
		{"absent", entry[string]{absent: true, created: now, expires: now + 5000, source: fromLoader}, false, ""},
		{"versioned", entry[string]{value: "v", version: math.MaxUint64, created: now, expires: now + 5000}, true, ""},
		{"stale at once", entry[string]{created: now, fresh: now, expires: now + 5000}, false, "an offset of zero is not never"},
		{"the longest", entry[string]{created: now, fresh: now + math.MaxUint32 - 1, expires: now + math.MaxUint32 - 1}, false, ""},
		{"longer", entry[string]{created: now, fresh: now + 1, expires: now + math.MaxUint32, due: true}, true, "49 days"},
		{"a century", entry[string]{value: "v", created: now, fresh: now + century, expires: now + century, offered: true}, true, "the longest TTL"},
		{"stale before it was made", entry[string]{created: now, fresh: now - 1, expires: now + 1, version: 7}, true, "another process's clock"},
		{"made before 1970", entry[string]{created: -1, fresh: 1, expires: now}, true, "a frame says what it likes"},
		{"made when no date is", entry[string]{created: math.MaxInt64, fresh: math.MinInt64, expires: math.MaxInt64}, true, ""},
		{"nothing", entry[string]{}, false, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			full := row.e
			full.load, full.generation, full.tags = 5, 6, []codec.TagStamp{{ID: 1, Barrier: 2}}
			k := full.kept()
			if got := *k.entry(); got.tags != nil || got.value != row.e.value || got.created != row.e.created ||
				got.fresh != row.e.fresh || got.expires != row.e.expires || got.version != row.e.version ||
				got.due != row.e.due || got.offered != row.e.offered || got.absent != row.e.absent || got.source != row.e.source {
				t.Errorf("got  %+v\nwant %+v: %s", got, row.e, row.why)
			}
			if k.absent() != row.e.absent || (k.rare != nil) != row.rare {
				t.Errorf("absent %v, rare %v: %s", k.absent(), k.rare, row.why)
			}
		})
	}
}
