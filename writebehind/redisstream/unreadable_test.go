package redisstream_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hearthcache/hearth/internal/servers/serverstest"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/redisstream"
	"github.com/redis/go-redis/v9"
)

func TestWriter_UnreadableEntriesAreDeadLettersAndHoldUpNobody(t *testing.T) {
	client := newClient(t, serverstest.Redis(t).Addr())
	s := newSink()
	w := writer(t, client, s)
	raw := "\x07 from another version"
	for p := range 4 {
		// One beside its key, which may be of another partition, and one without anything.
		for _, values := range []map[string]any{{"k": "k", "s": "1", "r": raw}, {"x": "y"}} {
			if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: fmt.Sprintf("{q}:stream:%d", p), Values: values}).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "{q}:dead", Values: map[string]any{"x": "y"}}).Err(); err != nil {
		t.Fatal(err)
	}
	put(t, w, "k", "1")
	put(t, w, "other", "1")
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.rows["k"] != "1" || s.rows["other"] != "1" {
		t.Errorf("rows %v", s.rows)
	}
	var letters []writebehind.DeadLetter[string]
	for end := time.Now().Add(time.Minute); len(letters) < 9; time.Sleep(5 * time.Millisecond) {
		var err error
		if letters, err = w.DeadLetters(t.Context()); err != nil || time.Now().After(end) {
			t.Fatalf("%d letters, %v, want 9", len(letters), err)
		}
	}
	kept := 0
	for _, l := range letters {
		if !strings.Contains(l.Reason, "corrupt record") {
			t.Errorf("reason %q", l.Reason)
		}
		if string(l.Raw) == raw {
			kept++
		}
	}
	if n := w.Stats().Dead; n != 8 || kept != 4 {
		t.Errorf("%d counted, want 8; the bytes of %d are there, want 4", n, kept)
	}
	for p := range 4 {
		stream := fmt.Sprintf("{q}:stream:%d", p)
		for end := time.Now().Add(time.Minute); client.XPending(t.Context(), stream, "writebehind").Val().Count != 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("something is left pending in partition %d", p)
			}
		}
	}
	if n, err := w.Redrive(t.Context()); n != 0 || err == nil {
		t.Errorf("redriven %d, %v: nobody can read them", n, err)
	}
	if _, err := w.Discard(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := w.DeadLetters(t.Context()); err != nil || len(left) != 1 {
		t.Errorf("%d letters left, %v, want the one that another program put there", len(left), err)
	}
}

func TestOpen_ClientThatWouldStandStillIsRefusedByName(t *testing.T) {
	addr := serverstest.Redis(t).Addr()
	for want, o := range map[string]redis.Options{
		"PoolSize":              {PoolSize: 8, ContextTimeoutEnabled: true},
		"ContextTimeoutEnabled": {PoolSize: 9},
		"":                      {PoolSize: 9, ContextTimeoutEnabled: true},
	} {
		o.Addr = addr
		client := redis.NewClient(&o)
		_, err := redisstream.Open(t.Context(), redisstream.Config{Client: client, Name: "q"})
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
		client.Close()
	}
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}, PoolSize: 8, ContextTimeoutEnabled: true})
	defer cluster.Close()
	if _, err := redisstream.Open(t.Context(), redisstream.Config{Client: cluster, Name: "q"}); err == nil || !strings.Contains(err.Error(), "PoolSize") {
		t.Errorf("cluster: %v", err)
	}
}

func TestWarnings_NameWhatTheServerDoesNotSync(t *testing.T) {
	server := serverstest.Redis(t)
	serverstest.Real(t, server) // the stand-in has no CONFIG
	client := newClient(t, server.Addr())
	for _, c := range []struct{ aof, fsync, want string }{
		{"no", "always", "appendonly is no"},
		{"yes", "everysec", "appendfsync is everysec"},
		{"yes", "always", ""},
	} {
		for name, v := range map[string]string{"appendonly": c.aof, "appendfsync": c.fsync} {
			if err := client.ConfigSet(t.Context(), name, v).Err(); err != nil {
				t.Fatal(err)
			}
		}
		j := open(t, redisstream.Config{Client: client, Name: "q"})
		w, err := writebehind.New(writebehind.Config[string]{Sink: newSink(), Journal: j})
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(w.Warnings(), "; ")
		if (got == "") != (c.want == "") || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s, %s: %q", c.aof, c.fsync, got)
		}
		if err := w.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
