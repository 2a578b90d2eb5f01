package main

import (
	"bytes"
	"strings"
	"testing"
)

const good = `{"servers":"real","requests":90000,"source_loads_steady_per_s":1000,"source_loads_peak_cold_swap_per_s":5000,` +
	`"source_loads_peak_hearth_per_s":1200,"hearth_worst_window_ratio":1.2,"loads_per_window":50,` +
	`"phases":["old","mirror","ramp 25%","ramp 75%","new","ramp 50%","mirror","old","mirror","ramp 50%","new","retire"],` +
	`"stale_reads":0,"wrong_reads":0,"failed_requests":0,"duration_s":40}`

func TestRun_JudgesTheLastLine(t *testing.T) {
	with := func(old, new string) string {
		if strings.Count(good, old) != 1 {
			t.Fatalf("%q is not there once", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, c := range []struct {
		name, in string
		code     int
		says     string
	}{
		{"all bounds just kept", good, 0, "90000 requests on real servers"},
		{"lines before it", "1/3 no migration\n{\"servers\":\"embedded\"}\n" + good + "\n\n", 0, "90000 requests"},
		{"a trace need not be cold enough", strings.Replace(with("5000", "1500"), "{", `{"trace":"w.gz",`, 1), 0, "90000 requests"},
		{"stand-ins", with(`"real"`, `"embedded"`), 1, `servers are "embedded"`},
		{"a stale read", with(`"stale_reads":0`, `"stale_reads":1`), 1, "1 stale reads"},
		{"too many loads", with(`1200`, `1200.1`), 3, "1200.1 loads/s through hearth"},
		{"too many loads for a moment", with(`1.2,`, `1.21,`), 3, "1.21 times the loads of the same requests"},
		{"nothing to avoid", with(`5000`, `4999.9`), 3, "4999.9 loads/s by the cold swap"},
		{"too slow", with(`"duration_s":40`, `"duration_s":40.1`), 3, "it took 40.1 s"},
		{"too slow, and stale", strings.Replace(with(`"duration_s":40`, `"duration_s":40.1`), `"stale_reads":0`, `"stale_reads":1`, 1), 1, "it took 40.1 s"},
		{"windows that chance decides", with(`"loads_per_window":50`, `"loads_per_window":49`), 1, "49 loads in a window"},
		{"never down again", with(`"ramp 50%","mirror","old","mirror","ramp 50%","new",`, ``), 1, "up, down again and up"},
		{"not to the end", with(`,"retire"`, ``), 1, "up, down again and up"},
		{"a phase left out", with(`"old","mirror","ramp 25%"`, `"old","ramp 25%"`), 1, "up, down again and up"},
		{"nothing loaded", with(`"source_loads_steady_per_s":1000`, `"source_loads_steady_per_s":0`), 1, "nothing to compare with"},
		{"no requests", with(`90000`, `0`), 1, "0 requests"},
		{"a wrong read", with(`"wrong_reads":0`, `"wrong_reads":2`), 1, "2 wrong reads"},
		{"a failed request", with(`"failed_requests":0`, `"failed_requests":3`), 1, "3 failed requests"},
		{"a field is missing", with(`"stale_reads":0,`, ``), 2, "lacks stale_reads"},
		{"no line", "", 2, "no result"},
		{"another line", "everything is fine", 2, "no result"},
	} {
		var out bytes.Buffer
		if code := run(strings.NewReader(c.in), &out); code != c.code || !strings.Contains(out.String(), c.says) {
			t.Errorf("%s: exit code %d, want %d, and %q in %q", c.name, code, c.code, c.says, &out)
		}
	}
}
