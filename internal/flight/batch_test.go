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

// A batch is used again only when nobody else can see its calls.
func TestReuse_NotWhileAnybodyCanLook(t *testing.T) {
	var g Group[int]
	b := NewBatch[int](2)
	c, _ := g.JoinBatch("a", b)
	if b.Reuse() {
		t.Error("reused while a call is in progress")
	}
	g.JoinBatch("a", b) // a repeat is nobody
	c.Finish(1, nil)
	if !b.Reuse() || b.Cap() != 2 {
		t.Fatal("not reused, and nobody has followed")
	}
	c, _ = g.JoinBatch("b", b)
	if v, role := g.JoinBatch("c", b); role != Leads || v == c {
		t.Fatalf("role %d", role)
	} else {
		v.Finish(3, nil)
	}
	follower, _ := g.Join("b")
	c.Finish(2, nil)
	if b.Reuse() {
		t.Error("reused although a follower has yet to look")
	}
	if v, err := follower.Wait(t.Context()); v != 2 || err != nil {
		t.Errorf("the follower got %d, %v", v, err)
	}

	b = NewBatch[int](1)
	c, _ = g.JoinBatch("d", b)
	left, _ := g.JoinBatch("d", NewBatch[int](1))
	left.Leave()
	g.Forget("d")
	c.Finish(4, nil)
	if b.Reuse() {
		t.Error("reused although one who left may come back to it")
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
