package flight

import "testing"

func TestJoinBatch_TellsLeadersFollowersAndRepeats(t *testing.T) {
	var g Group[int]
	elsewhere, _ := g.Join("a")
	b := NewBatch[int](3)
	c, role := g.JoinBatch("a", b)
	if c != elsewhere || role != Follows {
		t.Errorf("a key in flight: role %d", role)
	}
	lead, role := g.JoinBatch("b", b)
	if role != Leads {
		t.Fatalf("a new key: role %d", role)
	}
	if again, role := g.JoinBatch("b", b); again != lead || role != Repeats {
		t.Errorf("a key of the same batch: role %d", role)
	}
	if c, role := g.JoinBatch("b", NewBatch[int](1)); c != lead || role != Follows {
		t.Errorf("a key of another batch: role %d", role)
	}
	if c, leader := g.Join("b"); c != lead || leader {
		t.Error("a single reader does not follow the batch")
	}
	if lead.waiting != 3 {
		t.Errorf("%d wait, want 3: a repeat is nobody", lead.waiting)
	}
	lead.Finish(7, nil)
	if v, err := lead.Wait(t.Context()); v != 7 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	if _, role := g.JoinBatch("b", b); role != Leads {
		t.Errorf("after Finish: role %d", role)
	}
}

func TestJoinBatch_FullPanics(t *testing.T) {
	var g Group[int]
	b := NewBatch[int](1)
	g.JoinBatch("a", b)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
		if g.Len() != 1 {
			t.Errorf("%d calls in flight", g.Len())
		}
	}()
	g.JoinBatch("b", b)
}

func TestSettle_FirstResultStays(t *testing.T) {
	var g Group[int]
	c, _ := g.Join("k")
	if !c.Settle(1, nil) || c.Settle(2, errDown) {
		t.Error("want the first to settle it, the second not")
	}
	if v, err := c.Wait(t.Context()); v != 1 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
}
