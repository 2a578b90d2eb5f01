package bulk

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestGlob_FollowsTheRulesOfRedis(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"a*c", "abbc", true}, {"a*c", "abb", false}, {"a?c", "abc", true}, {"a?c", "ac", false},
		{"user:*:x", "user:1/2:x", true}, {"[a-c]x", "bx", true}, {"[^a-c]x", "bx", false}, {"[^a-c]x", "dx", true},
		{`\*`, "*", true}, {`\*`, "a", false}, {`[\]]`, "]", true}, {"**a", "xa", true}, {"[c-a]", "b", true}, {"", "", true}, {"", "a", false},
	} {
		if got := glob(c.pattern, c.s); got != c.want {
			t.Errorf("%q on %q: %t", c.pattern, c.s, got)
		}
	}
}

func TestFilter_PatternFindsWhatItKeeps(t *testing.T) {
	f := Filter{Prefix: `we[ir]d*\:`}
	if key := f.Prefix + "k"; !f.keeps(key) || !glob(f.pattern(), key) || glob(f.pattern(), "weid:k") {
		t.Errorf("pattern %q", f.pattern())
	}
}

func TestRedact_ShowsNoPassword(t *testing.T) {
	for in, want := range map[string]string{
		"redis://user:secret@h:1/0":                 "redis://user:***@h:1/0",
		"redis://:secret@h:1/0":                     "redis://:***@h:1/0",
		"redis://h:1/0":                             "redis://h:1/0",
		"memcached://u:secr@et@a:1,b:2?router=x":    "memcached://u:***@a:1,b:2?router=x",
		"redis://h:1?addr=b:2&password=secret&db=2": "redis://h:1?addr=b:2&password=***&db=2",
		"u:secret@h:1":                              "u:***@h:1",
	} {
		if got := Redact(in); got != want || strings.Contains(got, "secr") {
			t.Errorf("%s -> %s", in, got)
		}
	}
}

func TestOpen_WrongURLsAreExplainedWithoutTheirSecrets(t *testing.T) {
	for in, want := range map[string]string{
		"localhost:6379":                  "is no URL",
		"http://u:secret@x":               "is not known",
		"redis://u:secret@h:1/zero":       "database",
		"redis://u:sec%zzret@h:1":         "percent-encoded",
		"redis://u:secret@h:1?bogus=1":    "bogus",
		"memcached://u:secret@":           "without an address",
		"memcached://a:1,a:1":             "twice",
		"memcached://a:1?router=crc":      "rendezvous",
		"memcached://a:1?password=secret": "option",
	} {
		_, err := Open(in, Options{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "sec%zz") {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestPace_LetsKeysPassAtTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, began := pace{rate: 100}, time.Now()
		for range 11 {
			if err := p.wait(t.Context(), 50); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("500 keys took %v", d)
		}
	})
}
