package bulk

import "fmt"

// Tally counts what became of keys.
type Tally struct {
	Listed    int64        // keys the source named
	Fates     [fates]int64 // by Fate
	Bytes     int64        // of values that were copied
	FlagsLost int64        // copied without their memcached flags, which Redis cannot keep
	NoExpiry  int64        // copied and never expire
	Samples   []FailedKey  // of failures, the first few
}

// FailedKey is a key that could not be copied, and why.
type FailedKey struct {
	Key   string `json:"key"`
	Error string `json:"error"`
}

const samples = 10

// count adds one record.
func (t *Tally) count(r *Record) {
	t.Listed++
	t.Fates[r.Fate]++
	switch r.Fate {
	case Copied:
		t.Bytes += int64(len(r.Value))
		if r.lost {
			t.FlagsLost++
		}
		if r.Deadline.IsZero() {
			t.NoExpiry++
		}
	case Failed:
		if len(t.Samples) < samples {
			t.Samples = append(t.Samples, FailedKey{printable(r.Key), r.Err.Error()})
		}
	}
}

// add adds what another tally counted.
func (t *Tally) add(o Tally) {
	t.Listed += o.Listed
	for i, n := range o.Fates {
		t.Fates[i] += n
	}
	t.Bytes += o.Bytes
	t.FlagsLost += o.FlagsLost
	t.NoExpiry += o.NoExpiry
	t.Samples = append(t.Samples, o.Samples[:min(len(o.Samples), samples-len(t.Samples))]...)
}

// Skipped returns the counts of the reasons why keys were left alone.
func (t *Tally) Skipped() map[string]int64 {
	m := map[string]int64{}
	for f := Exists; f < Failed; f++ {
		if f != Filtered && t.Fates[f] > 0 {
			m[f.String()] = t.Fates[f]
		}
	}
	return m
}

// printable quotes a key that would upset a terminal.
func printable(key string) string {
	if q := fmt.Sprintf("%q", key); q != `"`+key+`"` {
		return q
	}
	return key
}
