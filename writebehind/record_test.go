package writebehind

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"
)

// The stored form is what a newer program finds after a crash of an older one: a change of these
// bytes is a change of the format.
func TestRecord_StoredFormStaysTheSame(t *testing.T) {
	r := Record{
		ID: ID{1, 15: 2}, Key: "k", Kind: Set, Value: []byte("v"), Version: 300,
		Deadline: time.Unix(1, 0), Enqueued: time.Unix(0, 5), Attempts: 3, Dead: "x", Died: time.Unix(0, 6),
	}
	got, _ := r.AppendBinary(nil)
	const want = "010101000000000000000000000000000002016b0176ac0280a8d6b9070a0301780c"
	if h := hex.EncodeToString(got[:len(got)-4]); h != want {
		t.Errorf("stored as\n%s, want\n%s", h, want)
	}
}

func FuzzRecord(f *testing.F) {
	r := Record{Key: "k", Kind: Delta, Value: []byte("v"), Enqueued: time.Unix(1, 2)}
	p, _ := r.AppendBinary(nil)
	f.Add(p)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, p []byte) {
		var r Record
		if r.UnmarshalBinary(p) != nil {
			return
		}
		again, _ := r.AppendBinary(nil)
		var r2 Record
		if err := r2.UnmarshalBinary(again); err != nil || r2.Key != r.Key || !bytes.Equal(r2.Value, r.Value) {
			t.Errorf("%x became %v, %v", p, r2, err)
		}
	})
}
