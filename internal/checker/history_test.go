package checker

import "testing"

// A writer that is held up between taking its name and using it, while others write more than the
// ring holds.
func TestCommit_WriterThatWasHeldUpIsRefusedAndTakesNobodysPlace(t *testing.T) {
	h := New(1)
	c := &h.cells[0]
	late := c.named.Add(1) // held up before it has entered its name
	for range ring {
		h.Complete(0, h.Write(0))
	}
	newest := h.Current(0)
	c.enter(late)
	if v := h.Begin(0).Judge(newest); v != Fine {
		t.Errorf("the newest value is %v", v)
	}
	if h.Commit(0, late) || h.Current(0) != newest {
		t.Errorf("a write whose place nobody can tell was taken, the source holds %d", h.Current(0))
	}

	held := h.Name(0) // held up after it has entered it
	for range ring {
		h.Complete(0, h.Write(0))
	}
	if h.Commit(0, held) {
		t.Error("a write whose place nobody can tell was taken")
	}
	if id := h.Write(0); h.Current(0) != id || h.Begin(0).Judge(id) != Fine {
		t.Errorf("the source holds %d after %d was written", h.Current(0), id)
	}
}
