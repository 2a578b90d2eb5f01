package tracking

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/backends"
	"github.com/hearthcache/hearth/backends/redis/internal/sinktest"
)

// refusal waits for Watch to end.
func refusal(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("Watch goes on")
		return nil
	}
}

// A proxy that says OK to CLIENT TRACKING and passes no push answers every ping.
func TestWatch_AProxyThatKeepsThePushesIsRefused(t *testing.T) {
	addr := server(t)
	proxy := sinktest.LatePushes(t, addr, sinktest.Never)
	l, ended := sinktest.Start(t, source(t, connect(t, proxy), quick("mute")))
	err := refusal(t, ended)
	if !errors.Is(err, ErrNoPush) || !errors.Is(err, backends.ErrUnsupported) || !strings.Contains(err.Error(), proxy+": CLIENT TRACKING: it said OK") {
		t.Errorf("got %v, want a refusal that names the place and the reason", err)
	}
	if s := l.State(); s.Ups != 0 || len(s.Downs) == 0 {
		t.Errorf("up %d times, downs %v", s.Ups, s.Downs)
	}
}

// Sensitivity: whoever believes it is up, and hears nothing.
func TestWatch_WithoutAProbeAProxyThatKeepsThePushesLooksHealthy(t *testing.T) {
	addr := server(t)
	s := source(t, connect(t, sinktest.LatePushes(t, addr, sinktest.Never)), quick("mute"))
	s.believing = true
	l := sinktest.Watch(t, s)
	other := sinktest.Watch(t, source(t, connect(t, addr), quick("mute")))
	l.Put("mute:k")
	other.Put("mute:k")
	set(t, connect(t, addr), "mute:k")
	other.Gone(t, "mute:k")
	alive := l.State().Alive
	l.Await(t, "another sign of life", func(s sinktest.State) bool { return s.Alive.After(alive) })
	if !l.State().Up || !l.Has("mute:k") {
		t.Error("it was noticed, or told: this test proves nothing")
	}
}

// A push may come later than the answers to some pings.
func TestWatch_APushThatComesLateCounts(t *testing.T) {
	addr := server(t)
	l := sinktest.Watch(t, source(t, connect(t, sinktest.LatePushes(t, addr, 4)), calm("late")))
	l.Put("late:k")
	set(t, connect(t, addr), "late:k")
	l.Gone(t, "late:k")
	if s := l.State(); len(s.Downs) != 0 || len(s.Flushes) != 1 {
		t.Errorf("downs %v, flushes %q", s.Downs, s.Flushes)
	}
}

// What others prove to themselves is nobody's key.
func TestWatch_ProbesOfOthersDisturbNobody(t *testing.T) {
	addr := own(t, "--hz", "100").Addr()
	c := connect(t, addr)
	m := &messages{n: map[string]int{}, up: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	first := source(t, c, calm("ns"))
	go func() { ended <- first.Watch(ctx, m) }()
	t.Cleanup(func() { cancel(); <-ended })
	<-m.up
	l := sinktest.Watch(t, source(t, c, calm("ns")))
	for range 5 {
		sinktest.Watch(t, source(t, c, calm("ns")))
	}
	if n := calls(t, c, "set"); n != 7 {
		t.Errorf("%d probes for 7 connections", n)
	}
	await(t, "the probes are gone", func() bool { return c.DBSize(t.Context()).Val() == 0 })
	l.Put("ns:last")
	set(t, c, "ns:last")
	l.Gone(t, "ns:last")
	await(t, "the last news", func() bool { return m.of("ns:last") > 0 })
	if len(m.n) != 1 {
		t.Errorf("forgotten: %v, want ns:last alone", m.n)
	}
	if s := l.State(); len(s.Flushes) != 1 || len(s.Downs) != 0 {
		t.Errorf("flushes %q, downs %v", s.Flushes, s.Downs)
	}
}

// calls returns how often a command was carried out.
func calls(t *testing.T, c *goredis.Client, command string) (n int) {
	t.Helper()
	info, err := c.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	if _, stat, ok := strings.Cut(info, "cmdstat_"+command+":calls="); ok {
		if _, err := fmt.Sscanf(stat, "%d", &n); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// The rights of the package comment for a user who only listens, without and with the probe.
func TestWatch_RightsOfAListener(t *testing.T) {
	listener := []string{"on", ">secret", "resetchannels", "resetkeys", "-@all", "+ping", "+client|tracking"}
	for _, c := range []struct {
		name   string
		rights []string
		probes int
	}{
		{"without the probe", listener, 0},
		{"with it", append(listener[:len(listener):len(listener)], "~user!probe:*", "+set"), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr := own(t).Addr()
			l := sinktest.Watch(t, source(t, user(t, addr, "ear", c.rights...), calm("user")))
			admin := connect(t, addr)
			if n := calls(t, admin, "set"); n != c.probes {
				t.Errorf("%d probes, want %d", n, c.probes)
			}
			l.Put("user:1")
			set(t, admin, "user:1")
			l.Gone(t, "user:1")
		})
	}
}

// What a server does not let us write says nothing about its pushes.
func TestWatch_AReplicaIsNotProbed(t *testing.T) {
	srv := own(t)
	c := connect(t, srv.Addr())
	if err := c.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	l := sinktest.Watch(t, source(t, c, calm("ro")))
	if s := l.State(); len(s.Downs) != 0 {
		t.Errorf("downs %v", s.Downs)
	}
}
