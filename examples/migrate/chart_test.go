package main

import (
	"strings"
	"testing"
)

func TestSparkline_ShowsWhatIsAboveZero(t *testing.T) {
	if got, want := sparkline([]float64{0, 0.01, 4, 8, 99}, 8), " ▁▄██"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBars_DrawEachValueToItsHeight(t *testing.T) {
	got := strings.Join(bars([]float64{0, 4, 8, 12, 20}, 8), "\n")
	want := strings.Join([]string{
		"    ▄",
		"   ▄█",
		" ▄███",
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRuler_PutsEachMarkAtItsPlaceAndCutsWhatHasNoRoom(t *testing.T) {
	got := ruler(20, "old", []mark{{0.25, "mirror"}, {0.5, "50 %"}, {0.95, "new"}})
	if want := "╵old ╵mirr╵50 %    ╵"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChart_PutsAllRunsOnOneScale(t *testing.T) {
	flat := make([]int64, 8)
	for i := range flat {
		flat[i] = 1
	}
	outs := []outcome{
		{way: steady, firstName: "memcached", series: series{grain: 10, loads: flat}},
		{way: cold, firstName: "memcached", series: series{grain: 10, loads: []int64{1, 1, 1, 1, 3, 2, 2, 1}}, marks: []mark{{0.5, "Redis"}}},
	}
	want := `  no migration
       100 ┤████████
           └────────
            ╵memcach
  cold swap
       300 ┤    █   
           ┤    ███ 
           ┤████████
           └────────
            ╵mem╵Red
`
	if got := chart(outs, 1000); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestThousands_HaveCommas(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.4: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := thousands(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}
