package backendtest

import (
	"context"
	"testing"
	"time"

	"github.com/hearthcache/hearth/backends"
)

// Harness is one store under test and what the suite has to know about it.
type Harness struct {
	// Store is the store under test. It may share its server with other stores, tests and
	// runs: every case uses keys of its own.
	Store backends.Store

	// Advance lets d of the server's time pass; nil = time is real and cases wait. Cases with
	// an Advance run one after another; those that wait for real do so side by side.
	Advance func(d time.Duration)

	// TTLResolution is how much later than asked an item may expire; 0 = 1 ms. A server that
	// counts in seconds and rounds up has two of them: one for the rounding, one for its tick.
	TTLResolution time.Duration

	// RawSet and RawGet write and read the bytes under a key as a client that knows nothing of
	// hearth would; RawGet of an absent key is [backends.ErrMiss]. nil = no such view; the
	// cases about foreign clients are left out.
	RawSet func(key string, value []byte) error
	RawGet func(key string) ([]byte, error)

	// Peer is another client of the same server, as another process would have, for
	// capabilities that only work between two; nil = those cases are left out. A store whose
	// own changes reach itself may be its own peer.
	Peer backends.Store

	// Close, if set, is called when the case is over.
	Close func()
}

// Maker makes the harness of one case. It is called for every case, so it is best given a
// server that is started once. It uses t to fail and to clean up.
type Maker func(t *testing.T) Harness

// T is what a case needs of a [testing.T]. It is an interface so that a test can watch a case
// fail, see [Recorder].
type T interface {
	Helper()
	Errorf(format string, args ...any)
	// Fatalf reports like Errorf and ends the case's goroutine.
	Fatalf(format string, args ...any)
	Context() context.Context
}

// Case is one claim about every store.
type Case struct {
	// Name is topic/ClaimAsAWord, unique.
	Name string
	// Why says what goes wrong in a service when a store breaks the claim.
	Why string

	needs func(h Harness, c backends.Caps) bool // nil = every store
	waits bool                                  // lets time pass
	run   func(e *env)
}

// Applies reports whether the case is about a store like h's: it asks for nothing that the
// store says it cannot do, or that the harness does not offer.
func (c Case) Applies(h Harness) bool {
	return c.needs == nil || c.needs(h, backends.CapsOf(h.Store))
}

// Run runs the case, on the goroutine that calls it.
func (c Case) Run(t T, h Harness) {
	t.Helper()
	c.runPatiently(t, h, 1)
}

// runPatiently stretches the lifetimes of a case that waits for real.
func (c Case) runPatiently(t T, h Harness, stretch time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), caseTimeout)
	defer cancel()
	e := newEnv(ctx, t, h)
	if h.Advance == nil {
		e.unit *= stretch
	}
	c.run(e)
}

// caseTimeout ends a case whose store hangs. No case waits for more than a few resolutions.
const caseTimeout = 20 * time.Second

// Cases returns the whole suite.
func Cases() []Case {
	var all []Case
	for _, topic := range [][]Case{
		capsCases, getSetCases, ttlCases, batchCases, casCases, leaseCases, batchLeaseCases,
		refreshCases, fenceCases, versionCases, tombstoneCases, touchCases, incrementCases,
		scanCases, invalidatorCases, keyCases, valueCases, rawCases, ctxCases, concurrencyCases,
	} {
		all = append(all, topic...)
	}
	return all
}

// Run runs every case that applies to the store that maker makes, each as a subtest. Where time
// is real, all cases that wait do so at the same time.
func Run(t *testing.T, maker Maker) {
	t.Helper()
	probe := maker(t)
	closeHarness(probe)
	var waiting []func()
	defer func() {
		for _, wait := range waiting {
			wait()
		}
	}()
	for _, c := range Cases() {
		switch {
		case !c.Applies(probe):
		case c.waits && probe.Advance == nil:
			waiting = append(waiting, runAside(t, c, maker(t)))
		default:
			t.Run(c.Name, func(t *testing.T) {
				h := maker(t)
				defer closeHarness(h)
				defer explain(t, c)
				c.Run(t, h)
			})
		}
	}
}

// runAside starts c and returns the function that waits for it and reports it as a subtest.
// Parallel subtests would not do: they are limited to the number of processors, and these
// cases do nothing but wait. A case that fails gets a second chance with longer lifetimes, since
// a machine that stalls makes an item expire before it is looked at; a store that is wrong is
// wrong twice.
func runAside(t *testing.T, c Case, h Harness) (report func()) {
	failures := make(chan []string, 1)
	go func() {
		defer closeHarness(h)
		var failed []string
		for _, stretch := range []time.Duration{1, 5} {
			failed = Record(t.Context(), func(rt T) { c.runPatiently(rt, h, stretch) }).Wait()
			if len(failed) == 0 {
				break
			}
		}
		failures <- failed
	}()
	return func() {
		t.Run(c.Name, func(t *testing.T) {
			defer explain(t, c)
			for _, f := range <-failures {
				t.Error(f)
			}
		})
	}
}

func explain(t *testing.T, c Case) {
	t.Helper()
	if t.Failed() {
		t.Logf("why it matters: %s", c.Why)
	}
}

func closeHarness(h Harness) {
	if h.Close != nil {
		h.Close()
	}
}
