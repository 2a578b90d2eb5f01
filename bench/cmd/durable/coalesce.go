package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/bolt"
	"github.com/hearthcache/hearth/writebehind/redisstream"
)

const (
	hotKeys   = 100
	hotWrites = 100_000
)

// squeeze is how many source writes a hot set of keys costs at one level.
type squeeze struct {
	Level        string  `json:"level"`
	Writes       int     `json:"writes"`
	Keys         int     `json:"keys"`
	SourceWrites int     `json:"source_writes"`
	Share        float64 `json:"share"`
	WrongKeys    int     `json:"wrong_keys"` // whose last source write is not their newest value
	Linger       string  `json:"linger"`
	MaxDelay     string  `json:"max_delay"`
	Seconds      float64 `json:"seconds"`
	Met          bool    `json:"met"`
}

// coalescing runs every level. The queue may hold a write for MaxDelay, so that a hot key costs
// one source write per MaxDelay; Linger is what a key has to be quiet for before that.
func coalescing(p plan) ([]squeeze, error) {
	server, client, err := startRedis("always")
	if err != nil {
		return nil, err
	}
	defer server.Close()
	defer client.Close()
	var out []squeeze
	for _, level := range []string{"memory", "journal", "stream"} {
		var j writebehind.Journal
		var err error
		switch level {
		case "journal":
			j, err = bolt.Open(bolt.Config{Path: filepath.Join(p.dir, "coalescing")})
		case "stream":
			j, err = redisstream.Open(context.Background(), redisstream.Config{Client: client, Name: "coalescing"})
		}
		if err != nil {
			return nil, err
		}
		s, err := hammer(level, j)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", level, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// hammer writes rising numbers under a few keys. A key has one writer at a time, so that its
// newest value is known.
func hammer(level string, j writebehind.Journal) (squeeze, error) {
	const linger, maxDelay = time.Second, 10 * time.Second // on a slow disk the writes alone take 20 s
	s := squeeze{Level: level, Writes: hotWrites, Keys: hotKeys, Linger: linger.String(), MaxDelay: maxDelay.String()}
	var mu sync.Mutex
	var last [hotKeys]int
	w, err := writebehind.New(writebehind.Config[int]{
		Journal: j, Linger: linger, MaxDelay: maxDelay,
		Sink: writebehind.SinkFunc[int](func(_ context.Context, ops []writebehind.Op[int]) error {
			mu.Lock()
			defer mu.Unlock()
			s.SourceWrites += len(ops)
			for _, o := range ops {
				last[o.Value%hotKeys] = o.Value
			}
			return nil
		}),
	})
	if err != nil {
		return s, err
	}
	ctx := context.Background()
	start := time.Now()
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for worker := range writers {
		wg.Go(func() {
			for n := 0; n < hotWrites/hotKeys; n++ {
				for k := worker; k < hotKeys; k += writers {
					v := n*hotKeys + k
					if err := w.Write(ctx, []tier.Mutation[int]{{Key: fmt.Sprint("hot-", k), Value: v}}); err != nil {
						failed.Store(&err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return s, *err
	}
	end, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := w.Close(end); err != nil {
		return s, err
	}
	s.Seconds = round(time.Since(start).Seconds(), 2)
	s.Share = float64(s.SourceWrites) / hotWrites
	for k, v := range last {
		if v != hotWrites-hotKeys+k {
			s.WrongKeys++
		}
	}
	return s, nil
}
