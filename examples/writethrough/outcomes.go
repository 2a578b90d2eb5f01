package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writethrough"
)

const key = "apples"

// outcomes plays a write of each kind and prints what database and cache hold after it.
func outcomes(out io.Writer, db *shop, store backends.Store) error {
	s, err := newService(db, store)
	if err != nil {
		return err
	}
	defer s.close()
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "write\toutcome\tin the database\tin the cache")
	var bad error
	show := func(what string, err error, want error) {
		ctx := context.Background()
		is, lerr := db.Load(ctx, key)
		has := "nothing"
		e, cerr := s.Lookup(ctx, key)
		if cerr == nil {
			has = fmt.Sprint(e.Value.Stock)
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\n", what, name(err), is.Stock, has)
		switch {
		case lerr != nil:
			bad = errors.Join(bad, lerr)
		case !errors.Is(err, want):
			bad = errors.Join(bad, fmt.Errorf("%s: %w", what, err))
		case cerr == nil && e.Value != is:
			bad = errors.Join(bad, fmt.Errorf("%s: the cache has %v, the database %v", what, e.Value, is))
		}
	}
	set := func(stock int) error { return s.Set(context.Background(), key, Item{Stock: stock, Cents: 30}) }

	show("12 apples", set(12), nil)
	show("-1 apples", set(-1), writethrough.ErrRefused)
	db.pauses.Store(int64(400 * time.Millisecond))
	show("11, answer too late", set(11), tier.ErrUnknown)
	db.pauses.Store(0)
	show("10", patient(set, 10), nil)
	db.broken.Store(true)
	show("9, database away", set(9), writethrough.ErrFailed)
	for range 20 {
		_ = set(9)
	}
	began := time.Now()
	show(fmt.Sprintf("9, breaker %s", s.writer.Stats().Breaker), set(9), writethrough.ErrFailed)
	if d := time.Since(began); d > 50*time.Millisecond {
		bad = errors.Join(bad, fmt.Errorf("an open breaker took %v", d))
	}
	db.broken.Store(false)
	show("8, database back", patient(set, 8), nil)
	return errors.Join(table.Flush(), bad)
}

// patient tries again what has failed for certain, for a while: that is always safe.
func patient(set func(int) error, stock int) error {
	var err error
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = set(stock); !errors.Is(err, writethrough.ErrFailed) {
			return err
		}
	}
	return err
}

func name(err error) string {
	switch {
	case err == nil:
		return "taken"
	case errors.Is(err, tier.ErrUnknown):
		return "unknown"
	case errors.Is(err, writethrough.ErrFailed):
		return "failed"
	case errors.Is(err, writethrough.ErrRefused):
		return "refused"
	}
	return err.Error()
}

// compete lets two services set one record at the same time and compares cache and database
// after each round.
func compete(out io.Writer, db *shop, store backends.Store, rounds int) error {
	var team []*service
	for range 2 {
		s, err := newService(db, store)
		if err != nil {
			return err
		}
		defer s.close()
		team = append(team, s)
	}
	view, err := tier.New(tier.Config[Item]{ // what the common cache holds, without loading
		Namespace: "hearth-example-shop",
		Local:     tier.Local[Item]{Disabled: true},
		Remotes:   []tier.Remote{{Name: "redis", Store: store}},
	})
	if err != nil {
		return err
	}
	defer view.Close(context.Background())
	wrong, empty := 0, 0
	for round := range rounds {
		errs := make([]error, 2*len(team))
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				errs[i] = team[i%len(team)].Set(context.Background(), key, Item{Stock: round, Cents: i})
			})
		}
		wg.Wait()
		is, err := db.Load(context.Background(), key)
		if err := errors.Join(append(errs, err)...); err != nil {
			return err
		}
		switch got, err := view.Get(context.Background(), key); {
		case errors.Is(err, tier.ErrMiss):
			empty++
		case err != nil:
			return err
		case got != is:
			wrong++
		}
	}
	fmt.Fprintf(out, "\n%d rounds of two services and four writers on one record: %d wrong, %d times the cache was empty\n", rounds, wrong, empty)
	if wrong > 0 {
		return fmt.Errorf("the cache held another value than the database after %d rounds", wrong)
	}
	return nil
}
