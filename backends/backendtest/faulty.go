package backendtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"

	"github.com/hearthcache/hearth/backends"
)

// ErrInjected is the failure of a [Fault] that names no other.
var ErrInjected = errors.New("backendtest: injected failure")

// Op names an operation of a store.
type Op string

// The operations. A batch is one operation, whatever it holds.
const (
	OpGet              Op = "get"
	OpSet              Op = "set"
	OpDelete           Op = "delete"
	OpGetMany          Op = "getmany"
	OpSetMany          Op = "setmany"
	OpDeleteMany       Op = "deletemany"
	OpAdd              Op = "add"
	OpCompareAndSwap   Op = "compareandswap"
	OpCompareAndDelete Op = "compareanddelete"
	OpAcquire          Op = "acquire"
	OpAcquireMany      Op = "acquiremany"
	OpAcquireRefresh   Op = "acquirerefresh"
	OpSeize            Op = "seize"
	OpFill             Op = "fill"
	OpFillMany         Op = "fillmany"
	OpRelease          Op = "release"
	OpReleaseMany      Op = "releasemany"
	OpSetNewer         Op = "setnewer"
	OpDeleteHold       Op = "deletehold"
	OpTouch            Op = "touch"
	OpIncrement        Op = "increment"
	OpGetTTL           Op = "getttl"
	OpGetTTLMany       Op = "getttlmany"
	OpPing             Op = "ping"
	OpScan             Op = "scan"
	OpWatch            Op = "watch"
	OpPublish          Op = "publish"
	OpPublishFlush     Op = "publishflush"
)

// Fault is one thing that goes wrong. What it does: it waits for Block, if set; then it carries
// the operation out or not (Applied, Corrupt); then it fails, unless it only delays or corrupts.
type Fault struct {
	// Op and Key say which calls it concerns; "" = every operation, every key. A fault with a
	// Key fails that key's entry of a batch, and the rest of the batch is carried out.
	Op  Op
	Key string

	// Partial makes a fault without a Key concern the entries of a batch one by one, not the
	// batch as a whole.
	Partial bool

	// Err is what the call returns; nil = ErrInjected, or [backends.ErrUnknown] if Applied.
	Err error

	// Applied: the operation is carried out and its answer is lost. Otherwise it is not
	// carried out at all.
	Applied bool

	// Corrupt flips a bit of every value that is read, and nothing fails.
	Corrupt bool

	// Block delays the call until the channel is closed (or sends), and nothing fails unless
	// Err is set. A ctx that ends meanwhile ends the call with ctx's error, not carried out.
	Block <-chan struct{}

	// Times is how often it happens: 0 = once, negative = every time.
	Times int

	// Rate is how likely it happens at a call that it concerns: 0 = always, else 0 to 1, drawn
	// from the seed of the Faulty.
	Rate float64
}

// fails returns the error of the fault; nil if it only delays or corrupts.
func (f *Fault) fails() error {
	switch {
	case f.Err != nil:
		return f.Err
	case f.Applied:
		return backends.ErrUnknown
	case f.Corrupt || f.Block != nil:
		return nil
	}
	return ErrInjected
}

// Faulty is a store that works like the one it wraps, with the same capabilities, until it is
// told otherwise. It counts calls, so that a test can count round trips. Safe for concurrent
// use.
type Faulty struct {
	inner backends.Store
	can   backends.Caps // of inner
	caps  backends.Caps // the same, through this store

	mu     sync.Mutex
	faults []*Fault
	calls  map[Op]int
	down   bool
	random *rand.Rand
	before func(op Op, key string)
	after  func(op Op, key string)
}

var _ backends.Composite = (*Faulty)(nil)

// NewFaulty wraps inner. Faults with a Rate happen as seed decides.
func NewFaulty(inner backends.Store, seed uint64) *Faulty {
	f := &Faulty{
		inner: inner, can: backends.CapsOf(inner), calls: make(map[Op]int),
		random: rand.New(rand.NewPCG(seed, seed)),
	}
	f.caps = f.mirror()
	return f
}

// Caps implements [backends.Composite].
func (f *Faulty) Caps() backends.Caps { return f.caps }

// Inject makes ft happen. Of several that concern a call, the one injected first happens.
func (f *Faulty) Inject(ft Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ft.Times == 0 {
		ft.Times = 1
	}
	f.faults = append(f.faults, &ft)
}

// Heal takes all faults back and is up again. Calls that are blocked stay so.
func (f *Faulty) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults, f.down = nil, false
}

// Down makes every call fail with [backends.ErrUnavailable], not carried out, or ends that.
func (f *Faulty) Down(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

// Before sets what is called at the beginning of every operation, on its goroutine, so that a
// test can force an interleaving; nil = nothing. For a batch, key is "".
func (f *Faulty) Before(hook func(op Op, key string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = hook
}

// After sets what is called when an operation has been carried out (or not) and before its
// answer is returned; nil = nothing. For a batch, key is "".
func (f *Faulty) After(hook func(op Op, key string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.after = hook
}

// Calls returns how often ops were called, failures included; all operations without ops.
func (f *Faulty) Calls(ops ...Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, op := range ops {
		n += f.calls[op]
	}
	if len(ops) == 0 {
		for _, c := range f.calls {
			n += c
		}
	}
	return n
}

// ResetCalls begins to count anew.
func (f *Faulty) ResetCalls() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.calls)
}

// begin counts the call and returns the hooks.
func (f *Faulty) begin(op Op, key string) (after func()) {
	f.mu.Lock()
	f.calls[op]++
	before, hook := f.before, f.after
	f.mu.Unlock()
	if before != nil {
		before(op, key)
	}
	return func() {
		if hook != nil {
			hook(op, key)
		}
	}
}

// scope is what a fault may happen to.
type scope int

const (
	single scope = iota // a call with one key or none
	whole               // a batch
	entry               // one key of a batch
)

// match returns the fault that happens now.
func (f *Faulty) match(op Op, key string, to scope) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return &Fault{Err: backends.ErrUnavailable}
	}
	for i, ft := range f.faults {
		switch {
		case ft.Op != "" && ft.Op != op,
			ft.Key != "" && ft.Key != key,
			to == whole && ft.Partial,
			to == entry && ft.Key == "" && !ft.Partial,
			ft.Rate > 0 && f.random.Float64() >= ft.Rate:
			continue
		}
		if ft.Times > 0 {
			if ft.Times--; ft.Times == 0 {
				f.faults = append(f.faults[:i:i], f.faults[i+1:]...)
			}
		}
		return ft
	}
	return nil
}

// block waits as ft says.
func (ft *Fault) block(ctx context.Context) error {
	if ft == nil || ft.Block == nil {
		return nil
	}
	select {
	case <-ft.Block:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// call makes one operation on one key.
func (f *Faulty) call(ctx context.Context, op Op, key string, do func() error) (corrupt bool, err error) {
	defer f.begin(op, key)()
	ft := f.match(op, key, single)
	if ft == nil {
		return false, do()
	}
	if err := ft.block(ctx); err != nil {
		return false, err
	}
	fails := ft.fails()
	if fails == nil || ft.Applied {
		err = do()
	}
	if fails != nil {
		err = fails
	}
	return ft.Corrupt, err
}

// batch makes one operation on many keys: do gets the places of those to be carried out, and
// fail is told of each that is to fail, after do.
func (f *Faulty) batch(ctx context.Context, op Op, keys []string, do func(at []int), fail func(i int, err error), corrupt func(i int)) {
	defer f.begin(op, "")()
	all := f.match(op, "", whole)
	if err := all.block(ctx); err != nil {
		for i := range keys {
			fail(i, err)
		}
		return
	}
	at, faults := make([]int, 0, len(keys)), make([]*Fault, len(keys))
	for i, key := range keys {
		ft := all
		if all == nil {
			ft = f.match(op, key, entry)
			if err := ft.block(ctx); err != nil {
				ft = &Fault{Err: err}
			}
		}
		if faults[i] = ft; ft == nil || ft.Applied || ft.fails() == nil {
			at = append(at, i)
		}
	}
	if len(at) > 0 || len(keys) == 0 {
		do(at)
	}
	for i, ft := range faults {
		switch {
		case ft == nil:
		case ft.fails() != nil:
			fail(i, ft.fails())
		case ft.Corrupt:
			corrupt(i)
		}
	}
}

// flipped returns v with one bit changed; v itself is shared.
func flipped(v []byte) []byte {
	if len(v) == 0 {
		return []byte{1}
	}
	c := append([]byte(nil), v...)
	c[len(c)/2] ^= 1
	return c
}
