package side

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func spin(per int) func(int) {
	return func(n int) {
		x := 0
		for range n * per {
			x = x*31 + 7
		}
		sink = x
	}
}

var sink int

func TestRun_TellsTenTimesTheWork(t *testing.T) {
	p := Plan{Rounds: 5, Round: 2 * time.Millisecond}
	res := Run(p, Variant{Name: "one", Op: spin(100)}, Variant{Name: "ten", Op: spin(1000)})
	if r := Ratio(Named(res, "ten"), Named(res, "one"), Wall); r < 4 || r > 25 {
		t.Errorf("ratio %.1f, want about 10", r)
	}
	var out bytes.Buffer
	Table(&out, "work", res)
	if !strings.Contains(out.String(), "ten") {
		t.Error(out.String())
	}
}

func TestMedian_OfEvenAndOddCounts(t *testing.T) {
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Error(got)
	}
	if got := median([]float64{9, 1, 3}); got != 3 {
		t.Error(got)
	}
}

func TestRun_CallsBeforeEachRoundWithAFixedCount(t *testing.T) {
	var before, ops int
	Run(Plan{Rounds: 3}, Variant{Name: "v", Fixed: 5, Before: func() { before++ }, Op: func(n int) { ops += n }})
	if before != 3 || ops != 15 {
		t.Error(before, ops)
	}
}
