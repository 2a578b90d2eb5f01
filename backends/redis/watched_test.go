package redis

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// forbidding is a store on a server whose user may not run these commands.
func forbidding(t *testing.T, commands ...any) (s, other *Store) {
	t.Helper()
	addr, ok := realServer(t)
	if !ok {
		serverstest.Need(t, servers.ErrNotInstalled) // the stand-in has no ACLs
	}
	other = open(t, addr, Config{})
	do(t, other, "acl", "setuser", "boss", "on", ">secret", "~*", "&*", "+@all")
	o := patient(addr)
	o.Username, o.Password = "boss", "secret"
	other = openWith(t, o, Config{})
	do(t, other, append([]any{"acl", "setuser", "default"}, commands...)...)
	return open(t, addr, Config{}), other
}

func TestFill_WorksWhereScriptsAreDenied(t *testing.T) {
	t.Parallel()
	s, other := forbidding(t, "-eval", "-evalsha")
	acquire := func(key string) backends.Lease {
		t.Helper()
		l, _, err := s.Acquire(t.Context(), key, time.Minute)
		if err != nil || l == nil {
			t.Fatalf("acquire: %v", err)
		}
		return l
	}
	wantErr(t, acquire("k").Fill(t.Context(), backends.Item{Value: []byte("v"), TTL: time.Minute}), nil, "fill")
	if it, err := s.GetTTL(t.Context(), "k"); err != nil || string(it.Value) != "v" || it.TTL <= 0 {
		t.Fatalf("got %q for %v, %v", it.Value, it.TTL, err)
	}
	if w := s.Warnings()[len(s.warnings):]; len(w) != 1 || !strings.Contains(w[0], "EVALSHA") {
		t.Errorf("warnings: %q, want the reason", w)
	}

	late := acquire("deleted")
	do(t, other, "del", "deleted")
	wantErr(t, late.Fill(t.Context(), text("old")), backends.ErrLeaseLost, "fill of a lease that a delete took")
	first := acquire("taken")
	do(t, other, "del", "taken")
	second := acquire("taken")
	wantErr(t, first.Fill(t.Context(), text("old")), backends.ErrLeaseLost, "fill of an earlier holder")
	wantErr(t, second.Release(t.Context()), nil, "release")
	if v := do(t, s, "exists", "taken"); v != int64(0) {
		t.Error("the released lease is still there")
	}

	res := s.AcquireMany(t.Context(), []string{"a", "b"}, time.Minute)
	if errs := s.FillMany(t.Context(), []backends.Lease{res[0].Lease, res[1].Lease}, []backends.Item{text("1"), text("2")}); errs != nil {
		t.Fatalf("fill many: %v", errs)
	}
	holds(t, s, "a", "1")
	holds(t, s, "b", "2")

	for _, changed := range []bool{false, true} {
		l, err := s.AcquireRefresh(t.Context(), "a", get(t, s, "a").Token, time.Minute)
		wantErr(t, err, nil, "acquire for a refresh")
		if !changed {
			wantErr(t, l.Fill(t.Context(), text("new")), nil, "refresh")
			holds(t, s, "a", "new")
			continue
		}
		set(t, s, "a", "other")
		wantErr(t, l.Fill(t.Context(), text("late")), backends.ErrLeaseLost, "refresh of a value that changed")
		holds(t, s, "a", "other")
	}

	do(t, other, "acl", "setuser", "default", "+eval", "+evalsha")
	wantErr(t, acquire("healed").Fill(t.Context(), text("v")), nil, "fill")
	if w := s.Warnings()[len(s.warnings):]; len(w) != 0 {
		t.Errorf("warnings after scripts were allowed: %q", w)
	}
}

func TestAcquire_TakesNoLeaseThatNobodyCanFill(t *testing.T) {
	t.Parallel()
	s, other := forbidding(t, "-eval", "-evalsha", "-watch", "-multi")
	l, _, err := s.Acquire(t.Context(), "k", time.Minute)
	wantErr(t, err, nil, "first acquire")
	if err := l.Fill(t.Context(), text("v")); err == nil || errors.Is(err, backends.ErrLeaseLost) {
		t.Fatalf("fill: %v, want the refusal", err)
	}
	_, _, err = s.Acquire(t.Context(), "other", time.Minute)
	wantErr(t, err, backends.ErrUnsupported, "acquire")
	res := s.AcquireMany(t.Context(), []string{"other"}, time.Minute)
	wantErr(t, res[0].Err, backends.ErrUnsupported, "acquire many")
	if v := do(t, other, "exists", "other"); v != int64(0) {
		t.Error("a lease was left behind")
	}
	if w := s.Warnings()[len(s.warnings):]; len(w) != 1 || !strings.Contains(w[0], "WATCH") {
		t.Errorf("warnings: %q, want the reason", w)
	}
}

func TestSetMany_WorksWhereScriptsAreDenied(t *testing.T) {
	t.Parallel()
	s, other := forbidding(t, "-eval", "-evalsha")
	s.separate, other.separate = true, true
	const n = 2*chunkKeys + 7
	l, _, err := s.Acquire(t.Context(), "k3", time.Minute)
	wantErr(t, err, nil, "acquire")
	wantErr(t, s.DeleteHold(t.Context(), "k4", time.Minute, 0), nil, "delete with hold-off")
	entries := make([]backends.KeyItem, n)
	for i := range entries {
		entries[i] = backends.KeyItem{Key: fmt.Sprint("k", i), Item: backends.Item{Value: []byte(fmt.Sprint(i)), TTL: time.Minute}}
	}
	entries[1].Key = ""
	for i, err := range s.SetMany(t.Context(), entries) {
		if (i == 1) != errors.Is(err, backends.ErrEmptyKey) || i != 1 && err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
	}
	for i := range entries {
		if i != 1 {
			holds(t, other, fmt.Sprint("k", i), fmt.Sprint(i))
		}
	}
	if it, err := other.GetTTL(t.Context(), fmt.Sprint("k", n-1)); err != nil || it.TTL <= 0 {
		t.Errorf("lives for %v, %v", it.TTL, err)
	}
	if l != nil {
		wantErr(t, l.Fill(t.Context(), text("old")), backends.ErrLeaseLost, "fill of a lease that a write took")
	}
	if v := do(t, other, "exists", SideKey("k3"), SideKey("k4")); v != int64(0) {
		t.Errorf("%v side keys are left", v)
	}
}

func TestSetMany_IsRefusedAlikeWithoutTransactions(t *testing.T) {
	t.Parallel()
	s, _ := forbidding(t, "-eval", "-evalsha", "-multi")
	s.separate = true
	entries := make([]backends.KeyItem, chunkKeys+1)
	for i := range entries {
		entries[i] = backends.KeyItem{Key: fmt.Sprint("k", i), Item: text("v")}
	}
	errs := s.SetMany(t.Context(), entries)
	if len(errs) != len(entries) {
		t.Fatalf("%d errors for %d entries", len(errs), len(entries))
	}
	for i, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Fatalf("entry %d: %v, want the refusal", i, err)
		}
	}
	// The connection is in step with the server.
	wantErr(t, s.client.Set(t.Context(), "plain", "p", 0).Err(), nil, "set")
	if v := do(t, s, "get", "plain"); v != "p" {
		t.Errorf("got %v", v)
	}
}
