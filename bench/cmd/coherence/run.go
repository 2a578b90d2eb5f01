//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hearthcache/hearth/internal/faultproxy"
)

// run measures one kind of servers: healthy, reset, in a black hole, and after it; or before,
// during and after events.
func run(f *farm, kind string, p plan, all *report) (err error) {
	file, err := os.CreateTemp("", "hearth-coherence-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	b, err := share(file)
	if err != nil {
		return err
	}
	var team []*worker
	defer func() {
		for _, w := range team {
			_ = w.in.Close()
			_ = w.cmd.Wait()
		}
	}()
	for i := range processes {
		o := f.order
		o.Index = i
		if !disturbed(kind, i) {
			o.Through = nil
		}
		w, err := start(o, file)
		if err != nil {
			return err
		}
		team = append(team, w)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	sendControl(ctx, f.control)
	foreign := make(chan map[int64]*tally, 1)
	go func() { foreign <- foreigner(f.order, b) }()
	names, err := f.phases(kind, p, b, all)
	b.Phase.Store(-1)
	all.add(names, <-foreign)
	if err != nil {
		return err
	}
	for _, w := range team {
		var got map[int64]*tally
		if err := json.NewDecoder(w.out).Decode(&got); err != nil {
			return fmt.Errorf("a process said nothing: %w", err)
		}
		all.add(names, got)
	}
	return nil
}

// disturbed reports whether the connections of process i are. Over memcached a writer that cannot
// publish reports that, and it is those who listen that are looked at.
func disturbed(kind string, i int) bool { return kind != "memcached" || i >= writers-1 }

// phases leads the processes through what is measured and returns the phases' names.
func (f *farm) phases(kind string, p plan, b *board, all *report) (names map[int64]string, err error) {
	names = map[int64]string{}
	begin := func(name string, bound time.Duration) {
		n := int64(len(names) + 1)
		names[n] = name
		all.name(name, bound)
		b.Phase.Store(n)
	}
	phase := func(name string, bound, d time.Duration, each func()) {
		begin(name, bound)
		for end := time.Now().Add(d); time.Now().Before(end); {
			each()
			time.Sleep(min(time.Second, time.Until(end)))
		}
		b.Phase.Store(0)
	}
	quiet := func() {}
	if err := allUp(b); err != nil {
		return names, err
	}
	time.Sleep(300 * time.Millisecond) // the L1s fill
	loses := false
	for _, e := range f.events {
		phase(e.name+"_before", tolerance, p.Side, quiet)
		all.mayLose[e.name+"_before"] = loses
		loses = loses || e.loses
		all.mayLose[e.name], all.mayLose[e.name+"_recovered"] = loses, loses
		begin(e.name, e.bound)
		err := f.happen(e, p, b, all)
		b.Phase.Store(0)
		if err != nil {
			return names, fmt.Errorf("%s: %w", e.name, err)
		}
		phase(e.name+"_recovered", tolerance, p.Side, quiet)
	}
	if len(f.events) > 0 {
		return names, nil
	}
	phase(kind, tolerance, p.Phase, quiet)
	phase(kind+"_reset", tolerance, p.Phase, f.reset)
	if err := allUp(b); err != nil {
		return names, err
	}
	f.set(faultproxy.Fault{Up: faultproxy.Flow{Stall: true}, Down: faultproxy.Flow{Stall: true}})
	phase(kind+"_black_hole", p.DeadAfter+p.Ping, p.Hole, quiet)
	for i := range b.Up {
		if disturbed(kind, i) && b.Up[i].Load() != 0 && !p.Deaf {
			all.notes = append(all.notes, fmt.Sprintf("%s: process %d did not notice the black hole", kind, i))
		}
	}
	f.set(faultproxy.Fault{})
	if err := allUp(b); err != nil {
		return names, err
	}
	phase(kind+"_recovered", tolerance, p.Phase, quiet)
	return names, nil
}

// happen lets an event happen, and returns once every link has come up by itself.
func (f *farm) happen(e event, p plan, b *board, all *report) error {
	time.Sleep(p.Side / 4)
	if err := e.first(); err != nil {
		return err
	}
	if e.breaks && !p.Deaf && !seenDown(b, p.DeadAfter+p.Ping+time.Second) {
		all.notes = append(all.notes, e.name+": it was not noticed")
	}
	if err := e.then(); err != nil {
		return err
	}
	if err := allUp(b); err != nil {
		return err
	}
	if e.breaks { // one that was replaced may be up again, and be taken for what it was
		time.Sleep(p.DeadAfter + p.Ping)
	}
	return allUp(b)
}

// seenDown waits until every process has seen its link down once.
func seenDown(b *board, within time.Duration) bool {
	var seen [processes]bool
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(time.Millisecond) {
		n := 0
		for i := range seen {
			if seen[i] = seen[i] || b.Up[i].Load() == 0; seen[i] {
				n++
			}
		}
		if n == processes {
			return true
		}
	}
	return false
}

// allUp waits until every process hears of changes. What they last said may be from before they
// noticed a disturbance, so they say it anew.
func allUp(b *board) error {
	for i := range b.Up {
		b.Up[i].Store(0)
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		up := 0
		for i := range b.Up {
			up += int(b.Up[i].Load())
		}
		if up == processes {
			return nil
		}
	}
	return errors.New("not every link came up within 30 s")
}

// foreigner is the client that knows nothing of hearth. Over memcached it has nobody to tell.
func foreigner(o order, b *board) map[int64]*tally {
	tallies := map[int64]*tally{}
	if o.Kind == "memcached" {
		return tallies
	}
	ctx := context.Background()
	c := client(o, nil)
	defer c.Close()
	write(ctx, b, writers-1, tallies, func(k int, v int64) error {
		key := namespace + ":" + keyName(k)
		switch v % 3 {
		case 0:
			return c.Del(ctx, key).Err()
		case 1:
			return c.Unlink(ctx, key).Err()
		}
		return c.Set(ctx, key, "fixed by hand", time.Minute).Err() // no frame: read as a miss
	})
	return tallies
}
