package main

import (
	"context"
	"errors"

	"github.com/hearthcache/hearth/tier"
)

// way is a way to count one visit.
type way struct {
	name  string
	exact bool // no visit may be lost
	count func(ctx context.Context, c *tier.Cache[int], key string) error
}

func (w way) key() string { return "front-page/" + w.name }

var ways = []way{
	{"naive", false, naive},
	{"update", true, update},
	{"increment", true, increment},
}

// naive reads, adds one and writes. Whoever writes between the two is overwritten.
func naive(ctx context.Context, c *tier.Cache[int], key string) error {
	n, err := c.Get(ctx, key)
	if err != nil && !errors.Is(err, tier.ErrMiss) {
		return err
	}
	return c.Set(ctx, key, n+1)
}

// update adds one to the value, if it is still the same when it is written, and tries again if it
// is not. Eight processes that do nothing else collide all the time, so it may try often.
func update(ctx context.Context, c *tier.Cache[int], key string) error {
	_, err := c.UpdateWith(ctx, key, func(old int, _ bool) (int, error) { return old + 1, nil },
		tier.UpdateOptions{Attempts: 1000})
	return err
}

// increment lets the server add one.
func increment(ctx context.Context, c *tier.Cache[int], key string) error {
	_, err := c.Increment(ctx, key, 1, tier.IncrementOptions{})
	return err
}
