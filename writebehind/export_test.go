package writebehind

import "time"

// Fault removes one guard.
type Fault int

// The faults.
const (
	NoFault Fault = iota
	RemoveByKey
	AckBeforeCommit
	AnyOrder
)

// WithFault returns cfg without the guard.
func WithFault[V any](cfg Config[V], f Fault) Config[V] {
	cfg.faults = faults{removeByKey: f == RemoveByKey, ackBeforeCommit: f == AckBeforeCommit, anyOrder: f == AnyOrder}
	return cfg
}

// WithJitter returns cfg with pauses chosen by f.
func WithJitter[V any](cfg Config[V], f func(ceiling time.Duration) time.Duration) Config[V] {
	cfg.jitter = f
	return cfg
}

// FullJitter is the longest pause.
func FullJitter(ceiling time.Duration) time.Duration { return ceiling }
