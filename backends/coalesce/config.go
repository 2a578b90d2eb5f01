package coalesce

import (
	"errors"
	"fmt"
	"time"
)

// Config bounds the batches. The zero value of every field is the documented default.
type Config struct {
	// MaxKeys is the largest number of keys in one batch. 0 = 256.
	MaxKeys int

	// MaxBytes is about how many bytes of values one batch carries: exact for fills, expected
	// from what was seen lately for reads; until a value was seen, each counts for a sixteenth.
	// Keys whose value was larger than a sixteenth of it
	// when last read are read by themselves. 0 = 256 KiB: a quarter of a millisecond on a link
	// of 10 Gbit/s.
	MaxBytes int

	// Step is how many keys must wait for each request under way before another one leaves
	// beside it. 0 = 32, picked on Redis and on memcached over our connection, of 16, 32, 48 and
	// 64 side by side, with 64 and 256 callers: on loopback none was more than a tenth faster and
	// 16 up to a fifth slower; with a round trip of half a millisecond 32 was the fastest, and 64
	// callers took half as long again with 48 and more.
	Step int

	// MaxInFlight is how many requests of one kind are under way at once. 0 = 16.
	MaxInFlight int

	// Timeout bounds a batch whose callers set no deadline, and the giving back of what was
	// acquired for a caller that has left. 0 = one second.
	Timeout time.Duration

	// Patience is how long keys wait for a request that does not come back before they leave
	// beside it, however few they are. 0 = 5 ms: rare on a healthy network, and short beside a
	// timeout.
	Patience time.Duration
}

func (c Config) withDefaults() (Config, error) {
	var errs []error
	positive := func(name string, v *int, otherwise int) {
		if *v < 0 {
			errs = append(errs, fmt.Errorf("%s is negative", name))
		}
		if *v == 0 {
			*v = otherwise
		}
	}
	positive("MaxKeys", &c.MaxKeys, 256)
	positive("MaxBytes", &c.MaxBytes, 256<<10)
	positive("Step", &c.Step, 32)
	positive("MaxInFlight", &c.MaxInFlight, 16)
	if c.Timeout < 0 || c.Patience < 0 {
		errs = append(errs, errors.New("negative Timeout or Patience"))
	}
	if c.Timeout == 0 {
		c.Timeout = time.Second
	}
	if c.Patience == 0 {
		c.Patience = 5 * time.Millisecond
	}
	if err := errors.Join(errs...); err != nil {
		return c, fmt.Errorf("coalesce: bad configuration: %w", err)
	}
	return c, nil
}
