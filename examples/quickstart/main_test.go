package main

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const story = `The first read asks the database     Ada of London, from the database
The second one does not              Ada of London, from L1
Nor does another process             Ada of London, from Redis
Changed and invalidated, once more   Ada of Paris, from the database
Somebody who does not exist          no such user
Asked of the database in all         3
`

func TestRun_TellsTheStory(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), nil, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	first, rest, _ := strings.Cut(out.String(), "\n")
	if first != "Started a Redis (real)." && first != "Started a Redis (embedded)." {
		t.Errorf("the first line does not say which Redis it is: %q", first)
	}
	if rest != story {
		t.Errorf("got:\n%s\nwant:\n%s", rest, story)
	}
}

func TestRun_UsesTheRedisItIsGiven(t *testing.T) {
	url := "redis://" + serverstest.Redis(t).Addr()
	for range 2 { // what the first run leaves behind does not change the second
		var out, errs bytes.Buffer
		if code := run(t.Context(), []string{"-redis", url}, &out, &errs); code != 0 {
			t.Fatalf("exit code %d: %s", code, &errs)
		}
		if want := "Using your Redis.\n" + story; out.String() != want {
			t.Errorf("got:\n%s\nwant:\n%s", &out, want)
		}
	}
}

func TestRun_SaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"help", []string{"-h"}, 0, "usage: quickstart"},
		{"an argument", []string{"redis"}, 2, "unexpected argument"},
		{"an unknown flag", []string{"-memcached"}, 2, "-memcached"},
		{"a wrong url", []string{"-redis", "localhost:6379"}, 1, "redis://localhost:6379/0"},
		{"nobody there", []string{"-redis", "redis://127.0.0.1:1"}, 1, "does not answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(t.Context(), c.args, &out, &errs); code != c.code || !strings.Contains(errs.String(), c.says) {
				t.Errorf("exit code %d, want %d, and %q in: %s", code, c.code, c.says, &errs)
			}
		})
	}
}
