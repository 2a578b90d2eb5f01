package main

import (
	"context"
	"errors"
	"testing"

	"github.com/hearthcache/hearth/tier"
)

func TestJudge_KnowsStaleFromRight(t *testing.T) {
	// The record's history: 1 is there, 2 an update, 3 a delete, 4 an update, 5 an update that
	// is committed but not finished.
	s := newSource(2, 0)
	for _, kind := range []changeKind{update, remove, update, update} {
		s.commit(0, kind)
	}
	version := func(v uint64) Record { return Record{Number: 0, Version: v, Text: text} }
	for _, c := range []struct {
		name   string
		floor  uint64
		got    Record
		absent bool
		want   verdict
	}{
		{"the newest", 5, version(5), false, right},
		{"the last that was finished", 4, version(4), false, right},
		{"one whose write is still under way", 4, version(5), false, right},
		{"one before the last that was finished", 4, version(2), false, stale},
		{"the first, when it was the last", 1, version(1), false, right},
		{"the first, later", 2, version(1), false, stale},
		{"a version that is a delete", 1, version(3), false, wrong},
		{"a version that has not been", 4, version(6), false, wrong},
		{"no version", 1, Record{Text: text}, false, wrong},
		{"another record", 1, Record{Number: 1, Version: 2, Text: text}, false, wrong},
		{"another text", 1, Record{Version: 2}, false, wrong},
		{"absent while the delete was under way", 2, Record{}, true, right},
		{"absent after the delete", 3, Record{}, true, right},
		{"absent after the record was there again", 4, Record{}, true, stale},
	} {
		if got := s.judge(0, c.floor, c.got, c.absent); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if got := s.judge(1, 1, Record{}, true); got != wrong {
		t.Errorf("absent although never deleted: %d, want %d", got, wrong)
	}
}

func TestSource_FloorMovesWhenTheWriteIsFinished(t *testing.T) {
	s := newSource(1, 0)
	first, second := s.commit(0, update), s.commit(0, update)
	if got := s.floor(0); got != 1 {
		t.Errorf("floor is %d while both writes are under way, want 1", got)
	}
	s.settle(0, second)
	s.settle(0, first)
	if got := s.floor(0); got != second {
		t.Errorf("floor is %d, want %d: a late end of an earlier write must not lower it", got, second)
	}
}

func TestSource_LoadsWhatIsThere(t *testing.T) {
	s := newSource(1, 0)
	if rec, err := s.load(t.Context(), 0); err != nil || rec.Version != 1 {
		t.Errorf("%v, %v", rec, err)
	}
	s.commit(0, remove)
	if _, err := s.load(t.Context(), 0); !errors.Is(err, tier.ErrMiss) {
		t.Errorf("a deleted record: %v, want ErrMiss", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.load(ended, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the ctx's error", err)
	}
	if got := s.loads.Load(); got != 3 {
		t.Errorf("%d loads were counted, want 3", got)
	}
}
