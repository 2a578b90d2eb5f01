package bolt_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/bolt"
)

// The source is down and the program ends; the next one finds the write and delivers it.
func Example() {
	dir, err := os.MkdirTemp("", "journal")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	run := func(sink writebehind.SinkFunc[string], ms ...tier.Mutation[string]) {
		journal, err := bolt.Open(bolt.Config{Path: filepath.Join(dir, "writes.db")})
		if err != nil {
			fmt.Println(err)
			return
		}
		w, err := writebehind.New(writebehind.Config[string]{Sink: sink, Journal: journal})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("accepted:", w.Write(context.Background(), ms), "replayed:", w.Stats().Replayed)
		ctx, cancel := context.WithCancel(context.Background())
		if len(ms) > 0 {
			cancel() // in a hurry
		}
		defer cancel()
		fmt.Println("closed:", w.Close(ctx))
	}

	run(func(context.Context, []writebehind.Op[string]) error { return errors.New("source is down") },
		tier.Mutation[string]{Key: "user:1", Value: "Ada"})
	run(func(_ context.Context, ops []writebehind.Op[string]) error {
		fmt.Println("applied:", ops[0].Key, ops[0].Value)
		return nil
	})
	// Output:
	// accepted: <nil> replayed: 0
	// closed: writebehind: closed with 1 operations not applied: context canceled
	// accepted: <nil> replayed: 1
	// applied: user:1 Ada
	// closed: <nil>
}
