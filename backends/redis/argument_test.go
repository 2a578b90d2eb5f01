package redis

import (
	"context"
	"fmt"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
)

// noting is a hook that keeps the commands it sees.
type noting struct{ cmds *[]goredis.Cmder }

func (h noting) DialHook(next goredis.DialHook) goredis.DialHook { return next }
func (h noting) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		*h.cmds = append(*h.cmds, cmd)
		return next(ctx, cmd)
	}
}

func (h noting) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}

// A hook may print a command, and may do so later, when the slice of keys is used for others.
func TestMGet_HooksSeeTheKeysAndMayKeepThem(t *testing.T) {
	c := goredis.NewClient(patient(server(t)))
	t.Cleanup(func() { _ = c.Close() })
	s := newStore(t, c, Config{})
	if err := s.Ping(t.Context()); err != nil { // connects
		t.Fatal(err)
	}
	var cmds []goredis.Cmder
	c.AddHook(noting{&cmds})
	keys := []string{"alpha", "beta"}
	s.GetMany(t.Context(), keys)
	clear(keys)
	if len(cmds) != 1 || fmt.Sprintln(cmds[0].Args()...) != "mget alpha beta\n" {
		t.Errorf("a hook saw %v", cmds)
	}
}

func TestMGet_KeysAreNotBoxed(t *testing.T) {
	addr, real := realServer(t) // what a stand-in allocates would count
	s := open(t, addr, Config{})
	keys, out := make([]string, 100), make([]backends.Result, 100)
	for i := range keys {
		keys[i] = fmt.Sprint("k", i)
		if err := s.Set(t.Context(), keys[i], backends.Item{Value: make([]byte, 100)}); err != nil {
			t.Fatal(err)
		}
	}
	n := testing.AllocsPerRun(50, func() {
		clear(out)
		s.GetManyInto(t.Context(), keys, out)
		for i, r := range out {
			if r.Err != nil || len(r.Item.Value) != 100 {
				t.Fatal(keys[i], r.Err)
			}
		}
	})
	if real && n > 240 {
		t.Errorf("%v allocations for 100 keys, of which a string and an interface each", n)
	}
}
