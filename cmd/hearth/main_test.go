package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hearthcache/hearth/internal/servers/serverstest"
	"github.com/hearthcache/hearth/internal/wire"
)

// asCommand in the environment makes the test binary the command itself.
const asCommand = "HEARTH_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

// command returns the command as a process of its own.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	return cmd
}

// hearth runs the command in this process.
func hearth(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.WithoutCancel(t.Context()), append([]string{"hearth"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

func startRedis(t *testing.T) (*redis.Client, string) {
	t.Helper()
	s := serverstest.Redis(t)
	serverstest.Real(t, s)
	c := redis.NewClient(&redis.Options{Addr: s.Addr()})
	t.Cleanup(func() { c.Close() })
	return c, "redis://" + s.Addr() + "/0"
}

func startMemcached(t *testing.T) (addr, url string) {
	t.Helper()
	s := serverstest.Memcached(t)
	serverstest.Real(t, s)
	return s.Addr(), "memcached://" + s.Addr()
}

// load sets n keys in Redis.
func load(t *testing.T, c *redis.Client, n int) {
	t.Helper()
	for i := 0; i < n; i += 1000 {
		pipe := c.Pipeline()
		for k := i; k < min(i+1000, n); k++ {
			pipe.Set(t.Context(), fmt.Sprint("key:", k), fmt.Sprint("value ", k), time.Hour)
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func reportOf(t *testing.T, stdout string) (r copyReport) {
	t.Helper()
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v in %q", err, stdout)
	}
	return r
}

func TestExitCodes_SayWhatWentWrong(t *testing.T) {
	_, good := startRedis(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no command", nil, exitUsage, "which command"},
		{"unknown command", []string{"cpoy"}, exitUsage, `no command "cpoy"`},
		{"unknown flag", []string{"copy", "--form", good}, exitUsage, "form"},
		{"no target", []string{"copy", "--from", good}, exitUsage, "--to"},
		{"same server", []string{"copy", "--from", good, "--to", good}, exitUsage, "the same"},
		{"no URL", []string{"copy", "--from", "localhost:6379", "--to", good}, exitUsage, "memcached://"},
		{"unknown scheme", []string{"copy", "--from", "http://u:secret@h", "--to", good}, exitUsage, `"http"`},
		{"argument", []string{"copy", "--from", good, "--to", "memcached://" + dead, "redis://u:secret@h"}, exitUsage, "unexpected argument"},
		{"no workers", []string{"copy", "--from", good, "--to", "memcached://" + dead, "--workers", "0"}, exitUsage, "below 1"},
		{"two modes", []string{"copy", "--from", good, "--to", "memcached://" + dead, "--overwrite", "--fenced"}, exitUsage, "exclude"},
		{"dead Redis", []string{"copy", "--from", "redis://u:secret@" + dead, "--to", good}, exitConnect, "cannot reach redis://u:***@"},
		{"dead memcached", []string{"copy", "--from", good, "--to", "memcached://u:secret@" + dead}, exitConnect, "cannot reach memcached://u:***@"},
		{"wrong protocol", []string{"copy", "--from", strings.Replace(good[:len(good)-2], "redis", "memcached", 1), "--to", good}, exitConnect, "cannot reach"},
		{"record without a server", []string{"phase", "get", "--record", "redis://u:secret@" + dead, "--name", "x"}, exitConnect, "cannot reach"},
		{"no record", []string{"phase", "get", "--record", good, "--name", "x"}, exitFailed, "no process has joined"},
		{"no phase", []string{"phase", "set", "--record", good, "--name", "x"}, exitUsage, "which phase"},
		{"unknown phase", []string{"phase", "set", "--record", good, "--name", "x", "sideways"}, exitUsage, "sideways"},
		{"unknown phase command", []string{"phase", "put"}, exitUsage, "get, set"},
		{"help", []string{"help"}, exitOK, ""},
		{"help of copy", []string{"copy", "--help"}, exitOK, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := hearth(t, c.args...)
			if code != c.code || !strings.Contains(stderr, c.says) || strings.Contains(stdout+stderr, "secret") {
				t.Errorf("exit code %d, want %d; stderr %q, want %q in it", code, c.code, stderr, c.says)
			}
		})
	}
}

func TestCopy_ReportsForPeopleAndPrograms(t *testing.T) {
	c, from := startRedis(t)
	_, to := startMemcached(t)
	load(t, c, 20)
	c.RPush(t.Context(), "list", "x")
	code, stdout, stderr := hearth(t, "copy", "--from", from, "--to", to, "--dry-run")
	if code != exitOK || !strings.Contains(stdout, "to copy   20 keys") || !strings.Contains(stdout, "1 not_a_string") {
		t.Errorf("%d, %q, %q", code, stdout, stderr)
	}
	code, stdout, _ = hearth(t, "copy", "--from", from, "--to", to, "--json")
	if r := reportOf(t, stdout); code != exitOK || r.Copied != 20 || r.Skipped["not_a_string"] != 1 || !r.Complete || r.Listed != 21 {
		t.Errorf("%d, %+v", code, r)
	}
	code, stdout, _ = hearth(t, "verify", "--from", from, "--to", to)
	if code != exitOK || !strings.Contains(stdout, "equal     20") {
		t.Errorf("verify: %d, %q", code, stdout)
	}
}

func TestVerify_FindsWhatDiffers(t *testing.T) {
	a, from := startRedis(t)
	b, to := startRedis(t)
	load(t, a, 50)
	load(t, b, 50)
	ctx := t.Context()
	b.Del(ctx, "key:1")
	b.Set(ctx, "key:2", "another secret", time.Hour)
	b.Persist(ctx, "key:3")
	b.Expire(ctx, "key:4", time.Minute)
	code, stdout, _ := hearth(t, "verify", "--from", from, "--to", to, "--json", "--sample", "0")
	var r verifyReport
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	if code != exitFailed || r.Compared != 50 || r.Equal != 46 || r.Differences["missing"] != 1 || r.Differences["value"] != 1 || r.Differences["ttl"] != 2 {
		t.Errorf("%d, %+v", code, r)
	}
	if strings.Contains(stdout, "another secret") {
		t.Error("a value is shown")
	}
	b.Set(ctx, "key:5", "\x00F\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01value", time.Hour)
	b.Set(ctx, "key:alone", "v", time.Hour)
	code, stdout, _ = hearth(t, "verify", "--from", from, "--to", to, "--match", "key:[5a]*", "--both-ways")
	if code != exitFailed || !strings.Contains(stdout, "reframed  1 (") || !strings.Contains(stdout, "only in   1 of 2 keys") || !strings.Contains(stdout, "key:alone: only_in_target: expired, 1 bytes") {
		t.Errorf("%d, %q", code, stdout)
	}
	code, stdout, _ = hearth(t, "verify", "--from", from, "--to", to, "--match", "key:5", "--strict")
	if code != exitFailed || !strings.Contains(stdout, "value     1") {
		t.Errorf("%d, %q", code, stdout)
	}
	code, stdout, _ = hearth(t, "verify", "--from", from, "--to", to, "--match", "key:4?")
	if code != exitOK || !strings.Contains(stdout, "compared  10 keys") {
		t.Errorf("%d, %q", code, stdout)
	}
}

func TestVerify_SamplesAboutAsManyAsAsked(t *testing.T) {
	a, from := startRedis(t)
	_, to := startRedis(t)
	load(t, a, 5000)
	code, stdout, _ := hearth(t, "verify", "--from", from, "--to", to, "--json", "--sample", "500", "--ttl-tolerance", "5s")
	var r verifyReport
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	if code != exitFailed || r.Compared < 400 || r.Compared > 600 || r.Differences["missing"] != r.Compared {
		t.Errorf("%d, %+v", code, r)
	}
}

func TestCopy_KilledGoesOnFromItsCheckpoint(t *testing.T) {
	const n = 30_000
	c, from := startRedis(t)
	_, memcachedURL := startMemcached(t)
	d, redisURL := startRedis(t)
	load(t, c, n)
	// Redis to Redis, and what arrived there on to memcached and back.
	kill := func(to string, copied func() int) {
		state := filepath.Join(t.TempDir(), "state")
		args := []string{"copy", "--from", from, "--to", to, "--state", state, "--json", "--quiet"}
		first := command(t, append(args, "--rate", fmt.Sprint(n/3))...)
		if err := first.Start(); err != nil {
			t.Fatal(err)
		}
		for copied() < n/2 {
			time.Sleep(5 * time.Millisecond)
		}
		if err := first.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = first.Wait()
		code, stdout, stderr := hearth(t, args...)
		r := reportOf(t, stdout)
		if code != exitOK || !r.Complete || !r.Resumed || r.Failed != 0 || r.Listed < n {
			t.Errorf("%d, %+v, %s", code, r, stderr)
		}
		if twice := r.Skipped["exists"]; twice >= n/2 || r.Copied+twice < n {
			t.Errorf("%d copied, %d done twice: it did not go on from a checkpoint", r.Copied, twice)
		}
		code, stdout, stderr = hearth(t, "verify", "--from", from, "--to", to, "--sample", "0", "--ttl-tolerance", "5s")
		if code != exitOK || !strings.Contains(stdout, "equal     30,000") {
			t.Errorf("verify: %d, %s, %s", code, stdout, stderr)
		}
	}
	kill(redisURL, func() int { k, _ := d.DBSize(t.Context()).Result(); return int(k) })
	kill(memcachedURL, func() int { return items(t, strings.TrimPrefix(memcachedURL, "memcached://")) })
}

// A fenced copy is killed between taking its leases and writing the values.
func TestCopy_KilledWhileItHoldsLeases(t *testing.T) {
	const n = 5000
	s := serverstest.Redis(t)
	serverstest.Real(t, s)
	c := redis.NewClient(&redis.Options{Addr: s.Addr()})
	t.Cleanup(func() { c.Close() })
	load(t, c, n)
	from := "redis://" + s.Addr() + "/0"
	d, to := startRedis(t)
	args := []string{"copy", "--fenced", "--from", from, "--to", to, "--state", filepath.Join(t.TempDir(), "state"), "--json", "--quiet"}
	held := func() (leases int) {
		for keys := d.Scan(t.Context(), 0, "", 1000).Iterator(); keys.Next(t.Context()); {
			if v, _ := d.Get(t.Context(), keys.Val()).Bytes(); wire.KindOf(v) == wire.Lease {
				leases++
			}
		}
		return leases
	}
	first := command(t, append(args, "--rate", "1000")...)
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	for done := int64(0); done == 0; done = d.DBSize(t.Context()).Val() { // it is at work
		time.Sleep(time.Millisecond)
	}
	if err := s.Pause(); err != nil { // it can take leases, and read nothing
		t.Fatal(err)
	}
	for held() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := hearth(t, args...)
	if r := reportOf(t, stdout); code != exitOK || !r.Complete || !r.Resumed {
		t.Errorf("%d, %+v, %s", code, r, stderr)
	}
	code, stdout, stderr = hearth(t, "verify", "--from", from, "--to", to, "--sample", "0", "--ttl-tolerance", "5s")
	if code != exitOK || !strings.Contains(stdout, "equal     5,000") {
		t.Errorf("verify: %d, %s, %s", code, stdout, stderr)
	}
}

// The command of the runbook, given once more after the target was emptied, must not say that
// all is well.
func TestCopy_FinishedSaysSoInsteadOfDoingNothing(t *testing.T) {
	c, from := startRedis(t)
	d, to := startRedis(t)
	load(t, c, 3)
	state := filepath.Join(t.TempDir(), "orders.copy")
	args := []string{"copy", "--from", from, "--to", to, "--state", state}
	if code, stdout, stderr := hearth(t, args...); code != exitOK {
		t.Fatal(code, stdout, stderr)
	}
	d.FlushAll(t.Context())
	code, stdout, stderr := hearth(t, args...)
	if code != exitFailed || !strings.Contains(stderr, "finished") || !strings.Contains(stderr, "remove the file") || strings.Contains(stderr, "goes on from here") {
		t.Errorf("%d, %q, %q", code, stdout, stderr)
	}
	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := hearth(t, args...); code != exitOK || d.DBSize(t.Context()).Val() != 3 {
		t.Errorf("%d, %q, %q", code, stdout, stderr)
	}
}

// The resize of the guide: both lists have the same servers.
func TestCopy_ToALongerListOfTheSameServers(t *testing.T) {
	var addrs []string
	for range 3 {
		addr, _ := startMemcached(t)
		addrs = append(addrs, addr)
	}
	_, redisURL := startRedis(t)
	from := "memcached://" + strings.Join(addrs[:2], ",") + "?router=modulo"
	to := "memcached://" + strings.Join(addrs, ",") + "?router=ketama"
	c := redis.NewClient(&redis.Options{Addr: strings.TrimSuffix(strings.TrimPrefix(redisURL, "redis://"), "/0")})
	t.Cleanup(func() { c.Close() })
	load(t, c, 300)
	if code, _, stderr := hearth(t, "copy", "--from", redisURL, "--to", from); code != exitOK {
		t.Fatal(stderr)
	}
	for run, want := range []int64{300, 0} {
		code, stdout, stderr := hearth(t, "copy", "--from", from, "--to", to, "--add-prefix", "v2:", "--json")
		if r := reportOf(t, stdout); code != exitOK || r.Copied != want {
			t.Errorf("run %d: %d, %+v, %s", run, code, r, stderr)
		}
	}
	code, stdout, stderr := hearth(t, "verify", "--from", from, "--to", to, "--add-prefix", "v2:", "--both-ways", "--sample", "0")
	if code != exitOK || !strings.Contains(stdout, "equal     300") || !strings.Contains(stdout, "only in   0 of 300 keys of "+to) {
		t.Errorf("verify: %d, %q, %q", code, stdout, stderr)
	}
}

// items asks a memcached how many it has.
func items(t *testing.T, addr string) (n int) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "stats\r\nquit\r\n")
	var text bytes.Buffer
	if _, err := text.ReadFrom(conn); err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(text.String(), "STAT curr_items ")
	fmt.Sscan(rest, &n)
	return n
}

func TestCopy_InterruptedSaysHowToGoOn(t *testing.T) {
	c, from := startRedis(t)
	_, to := startRedis(t)
	load(t, c, 5000)
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs bytes.Buffer
	state := filepath.Join(t.TempDir(), "state")
	go func() {
		for {
			if _, err := os.Stat(state); err == nil {
				cancel()
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	code := run(ctx, []string{"hearth", "copy", "--from", from, "--to", to, "--state", state, "--rate", "100", "-q"}, &out, &errs)
	if code != exitFailed || !strings.Contains(errs.String(), "interrupted") || !strings.Contains(errs.String(), "goes on") || !strings.Contains(out.String(), "NOT COMPLETE") {
		t.Errorf("%d, %q, %q", code, out.String(), errs.String())
	}
	if code, stdout, stderr := hearth(t, "copy", "--from", from, "--to", to, "--state", state, "-q"); code != exitOK || !strings.Contains(stdout, "complete") {
		t.Errorf("%d, %q, %q", code, stdout, stderr)
	}
}

func TestHelp_NamesTheFormsOfURLs(t *testing.T) {
	_, stdout, _ := hearth(t, "help")
	for _, want := range []string{"redis+cluster://", "memcached://", "router=", "Exit codes"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in the help", want)
		}
	}
}
