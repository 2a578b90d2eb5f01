package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writethrough"
)

// childEnv carries a child's part.
const childEnv = "HEARTH_RACE_WRITERS"

// part is what a child is to do.
type part struct{ Source, Kind, Addr, Way string }

// sourceKey is where the source of record, a Redis of its own, keeps the record.
const sourceKey = "record"

// answerTime is how long, at most, the source's answer takes after its commit.
const answerTime = 500 * time.Microsecond

// child sets the key from perProcess goroutines for each line it reads, and answers with the
// number of writes that failed.
func child() error {
	var p part
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &p); err != nil {
		return err
	}
	client := dial(p.Source)
	defer client.Close()
	commit := func(ctx context.Context, v string) error {
		err := client.Set(ctx, sourceKey, v, 0).Err()
		time.Sleep(rand.N(answerTime))
		return err
	}
	store, shut, err := connect(p.Kind, p.Addr)
	if err != nil {
		return err
	}
	defer shut()
	cfg := config(p.Kind, store)
	if p.Way == fenced {
		w, err := writethrough.New(writethrough.Config[string]{
			Sink: writethrough.SinkFunc[string](func(ctx context.Context, ms []tier.Mutation[string]) error {
				return commit(ctx, ms[len(ms)-1].Value)
			}),
		})
		if err != nil {
			return err
		}
		defer w.Close()
		cfg.Writer = w
	}
	c, err := tier.New(cfg)
	if err != nil {
		return err
	}
	defer c.Close(context.Background())
	write := c.Set
	if p.Way == plain {
		write = func(ctx context.Context, key, v string) error {
			if err := commit(ctx, v); err != nil {
				return err
			}
			return c.Set(ctx, key, v)
		}
	}
	return obey(write)
}

func obey(write func(ctx context.Context, key, v string) error) error {
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		var wg sync.WaitGroup
		var failed atomic.Int32
		for i := range perProcess {
			wg.Go(func() {
				if err := write(context.Background(), key, fmt.Sprintf("%s.%d.%d", orders.Text(), os.Getpid(), i)); err != nil {
					failed.Add(1)
					fmt.Fprintln(os.Stderr, err)
				}
			})
		}
		wg.Wait()
		if _, err := fmt.Println(failed.Load()); err != nil {
			return err
		}
	}
	return orders.Err()
}
