package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hearthcache/hearth/internal/wire"
)

// One of two stores on the same servers is cleared, and the other keeps what it has.
func TestDelete_TakesTheValuesWithThePrefixAlone(t *testing.T) {
	c, redisURL := startRedis(t)
	a1, _ := startMemcached(t)
	a2, _ := startMemcached(t)
	fleet := "memcached://" + a1 + "," + a2
	ctx := t.Context()
	for i := range 50 {
		c.Set(ctx, fmt.Sprint("v2:", i), "new", time.Hour)
		c.Set(ctx, fmt.Sprint("k:", i), "old", time.Hour)
	}
	c.Set(ctx, "v2:with blank", "new", time.Hour) // under its hash in memcached
	c.Set(ctx, "k with blank", "old", time.Hour)
	if code, _, stderr := hearth(t, "copy", "--from", redisURL, "--to", fleet, "--hash-keys"); code != exitOK {
		t.Fatal(stderr)
	}
	raw(t, a1, "set v2:held 0 600 18\r\n"+string(wire.NewLease())+"\r\n")
	c.Set(ctx, "v2:held", wire.NewLease(), time.Hour)
	c.RPush(ctx, "v2:list", "x")
	count := func(url string) int {
		if url == redisURL {
			return int(c.DBSize(ctx).Val())
		}
		return items(t, a1) + items(t, a2)
	}
	for url, left := range map[string]int64{redisURL: 2, fleet: 1} {
		before := count(url)
		for _, args := range [][]string{{"--dry-run"}, {}, {}} {
			args = append([]string{"delete", "--at", url, "--prefix", "v2:", "--json"}, args...)
			code, stdout, stderr := hearth(t, args...)
			var r deleteReport
			if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != exitOK {
				t.Fatal(code, stdout, stderr)
			}
			want := int64(51)
			if count(url) == before-51 && !r.DryRun && r.Deleted == 0 {
				want = 0 // the second time
			}
			// On a list the lease may lie on a server that is not its key's.
			if r.Deleted != want || r.Left > left {
				t.Errorf("%v: %+v, %d keys of %d are there", args, r, count(url), before)
			}
		}
		if n := count(url); n != before-51 {
			t.Errorf("%s: %d keys of %d are left", url, n, before)
		}
	}
	if v := c.Get(ctx, "k:7").Val(); v != "old" {
		t.Errorf("another key is %q", v)
	}
	// And the one without a prefix.
	c.Set(ctx, "v2:k", "new", time.Hour)
	for url, others := range map[string]int{redisURL: 3, fleet: 1} {
		if code, stdout, _ := hearth(t, "delete", "--at", url, "--except", "v2:"); code != exitOK || !strings.Contains(stdout, "deleted   51 keys") || count(url) != others {
			t.Errorf("%d, %q, %d keys are left", code, stdout, count(url))
		}
	}
}

func TestDelete_IsNotForEverything(t *testing.T) {
	_, url := startRedis(t)
	for _, args := range [][]string{{"--at", url}, {"--prefix", "x"}, {"--at", url, "--prefix", "x", "y"}, {"--at", "x", "--prefix", "x"}} {
		if code, _, stderr := hearth(t, append([]string{"delete"}, args...)...); code != exitUsage {
			t.Errorf("%v: %d, %s", args, code, stderr)
		}
	}
	code, stdout, _ := hearth(t, "delete", "--at", url, "--prefix", "x", "-n")
	if code != exitOK || !strings.Contains(stdout, "to delete 0 keys of redis://") {
		t.Errorf("%d, %q", code, stdout)
	}
}
