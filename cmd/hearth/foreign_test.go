package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// foreignClient returns a program of another client, under one of its names. Where none is
// installed the values are set by hand in the same form, except where CI is set: there it must be.
func foreignClient(t *testing.T, names ...string) string {
	t.Helper()
	for _, n := range names {
		if path, err := exec.LookPath(n); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("none of %v is installed", names)
	}
	return ""
}

// Values that libmemcached and redis-cli wrote arrive with what is left of their lifetimes.
func TestCopy_ValuesOfOtherClientsSurvive(t *testing.T) {
	const value = "line one\r\nline two\x00\xff"
	addr, memcachedURL := startMemcached(t)
	c, redisURL := startRedis(t)
	if memcp := foreignClient(t, "memccp", "memcp"); memcp != "" { // Debian calls it memccp
		file := filepath.Join(t.TempDir(), "page")
		if err := os.WriteFile(file, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(memcp, "--servers="+addr, "--expire=600", "--flag=5", file).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	} else {
		raw(t, addr, "set page 5 600 20\r\n"+value+"\r\n")
	}
	code, stdout, stderr := hearth(t, "copy", "--from", memcachedURL, "--to", redisURL, "--json")
	if r := reportOf(t, stdout); code != exitOK || r.Copied != 1 || r.FlagsLost != 1 {
		t.Fatalf("%d, %s, %s", code, stdout, stderr)
	}
	if got := c.Get(t.Context(), "page").Val(); got != value {
		t.Errorf("got %q", got)
	}
	if ttl := c.TTL(t.Context(), "page").Val(); ttl < 597*time.Second || ttl > 601*time.Second {
		t.Errorf("%v left", ttl)
	}

	if cli := foreignClient(t, "redis-cli"); cli != "" {
		host, port, _ := net.SplitHostPort(c.Options().Addr)
		if out, err := exec.Command(cli, "-h", host, "-p", port, "SET", "from-cli", "ünï code", "EX", "900").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	} else {
		c.Set(t.Context(), "from-cli", "ünï code", 900*time.Second)
	}
	code, _, stderr = hearth(t, "copy", "--from", redisURL, "--to", memcachedURL)
	if code != exitOK {
		t.Fatal(stderr)
	}
	head, rest, _ := strings.Cut(raw(t, addr, "mg from-cli v t\r\n"), "\r\n")
	if !strings.HasPrefix(rest, "ünï code\r\n") || head < "VA 10 t897" || head > "VA 10 t900" {
		t.Errorf("got %q %q", head, rest)
	}
}

// raw sends a memcached command and returns what comes back.
func raw(t *testing.T, addr, command string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(command)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}
