package writebehind_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
)

// A sink stores if newer, so that an operation that arrives twice changes nothing.
func Example() {
	ctx := context.Background()
	stored := map[string]string{}
	seqs := map[string]uint64{}
	sink := writebehind.SinkFunc[string](func(_ context.Context, ops []writebehind.Op[string]) error {
		for _, op := range ops {
			if op.Seq < seqs[op.Key] {
				continue
			}
			seqs[op.Key] = op.Seq
			if op.Delete {
				delete(stored, op.Key)
				continue
			}
			stored[op.Key] = op.Value
		}
		return nil
	})
	w, err := writebehind.New(writebehind.Config[string]{Sink: sink})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = w.Write(ctx, []tier.Mutation[string]{
		{Key: "user:1", Value: "Ada"},
		{Key: "user:2", Value: "Alan"},
		{Key: "user:1", Value: "Ada Lovelace"},
		{Key: "user:2", Delete: true},
	})
	fmt.Println("accepted:", err)
	fmt.Println("drained:", w.Close(ctx), stored)
	fmt.Println("source writes saved:", w.Stats().Coalesced)
	// Output:
	// accepted: <nil>
	// drained: <nil> map[user:1:Ada Lovelace]
	// source writes saved: 2
}

// Deltas reach the sink one by one, in order; the handle tells when they are in.
func ExampleWriter_Enqueue() {
	ctx := context.Background()
	account := ""
	w, err := writebehind.New(writebehind.Config[string]{
		Sink: writebehind.SinkFunc[string](func(_ context.Context, ops []writebehind.Op[string]) error {
			account += string(ops[0].Delta)
			return nil
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Close(ctx)
	key := tier.Mutation[string]{Key: "account:1"}
	ack, err := w.Enqueue(ctx,
		writebehind.Change[string]{Mutation: key, Delta: []byte("+10")},
		writebehind.Change[string]{Mutation: key, Delta: []byte("-3")},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ack.Wait(ctx), account)
	// Output:
	// <nil> +10-3
}

// A record that the source will never take does not hold up the others.
func ExampleWriter_Redrive() {
	ctx := context.Background()
	strict := true
	w, err := writebehind.New(writebehind.Config[string]{
		Sink: writebehind.SinkFunc[string](func(_ context.Context, ops []writebehind.Op[string]) error {
			for _, op := range ops {
				if strict && op.Value == "" {
					return writebehind.Permanent(errors.New("name must not be empty"))
				}
			}
			return nil
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Close(ctx)
	w.Write(ctx, []tier.Mutation[string]{{Key: "a", Value: "Ada"}, {Key: "b", Value: ""}, {Key: "c", Value: "Carl"}})
	w.Flush(ctx)
	letters, _ := w.DeadLetters(ctx)
	fmt.Println(w.Stats().Applied, "applied,", letters[0].Op.Key, "parked:", letters[0].Reason)
	strict = false
	n, err := w.Redrive(ctx, "b")
	w.Flush(ctx)
	fmt.Println("redriven:", n, err, "applied:", w.Stats().Applied)
	// Output:
	// 2 applied, b parked: name must not be empty
	// redriven: 1 <nil> applied: 3
}
