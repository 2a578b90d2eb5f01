package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestRun_CacheNeverHoldsWhatTheDatabaseDoesNot(t *testing.T) {
	var out strings.Builder
	err := run(&out, "", filepath.Join(t.TempDir(), "shop.db"), 20)
	t.Log(out.String())
	if err != nil {
		t.Error(err)
	}
	for _, s := range []string{"taken", "refused", "unknown", "failed", " 0 wrong"} {
		if !strings.Contains(out.String(), s) {
			t.Errorf("the output does not show %q", s)
		}
	}
}
