package main

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
)

// nobody returns the address of a server that is not there.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestUsage_NoPasswordIsPrinted(t *testing.T) {
	_, record := startRedis(t)
	if code, _, stderr := hearth(t, "phase", "init", "--record", record, "--name", "x"); code != exitOK {
		t.Fatal(stderr)
	}
	const secret = "redis://:secret@h"
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{secret}, exitUsage},
		{[]string{"phase", secret}, exitUsage},
		{[]string{"phase", "set", "--record", record, "--name", "x", "mirror", secret}, exitUsage},
		{[]string{"phase", "init", "--record", record, "--name", "y", "mirror", secret}, exitUsage},
		{[]string{"phase", "get", "--record", record, "--name", "x", secret}, exitUsage},
		{[]string{"phase", "forget", "--record", record, "--name", "x", "web-1", secret}, exitUsage},
		{[]string{"phase", "forget", "--record", record, "--name", "x", secret}, exitFailed},
		{[]string{"copy", "--rate", secret}, exitUsage},
		{[]string{"copy", "--workers", secret}, exitUsage},
		{[]string{"copy", "--json=" + secret}, exitUsage},
		{[]string{"copy", "--" + secret}, exitUsage},
	} {
		code, stdout, stderr := hearth(t, c.args...)
		if code != c.code || stderr == "" || strings.Contains(stdout+stderr, "secret") {
			t.Errorf("%v: %d, %q, %q", c.args, code, stdout, stderr)
		}
	}
}

func TestUsage_AnswersForTheCommandThatWasGiven(t *testing.T) {
	_, url := startRedis(t)
	for _, c := range []struct {
		name string
		args []string
		says []string
	}{
		{"none", nil, []string{`Try "hearth --help"`}},
		{"nearly one", []string{"cpoy"}, []string{`did you mean "copy"?`, `Try "hearth --help"`}},
		{"nearly one below", []string{"phase", "sett"}, []string{`did you mean "set"?`, `Try "hearth phase --help"`}},
		{"flag", []string{"verify", "--smaple", "1"}, []string{`Try "hearth verify --help"`}},
		{"phase", []string{"phase", "set", "--record", url, "--name", "x", "up"}, []string{`Try "hearth phase set --help"`}},
		{"slow", []string{"copy", "--rate", "-5"}, []string{"below 0", `Try "hearth copy --help"`}},
		{"no number", []string{"copy", "--rate", "NaN"}, []string{"below 0"}},
		{"slow delete", []string{"delete", "--rate", "-5"}, []string{"below 0"}},
		{"no time", []string{"copy", "--timeout", "-1s"}, []string{"below 0"}},
		{"no time to delete", []string{"delete", "--timeout", "-1s"}, []string{"below 0"}},
		{"impatient", []string{"copy", "--patience", "-1s"}, []string{"below 0"}},
		{"impatient verify", []string{"verify", "--patience", "-1s"}, []string{"below 0"}},
		{"intolerant", []string{"verify", "--ttl-tolerance", "-1s"}, []string{"below 0"}},
		{"no wait", []string{"phase", "set", "--wait", "-1s"}, []string{"below 0"}},
		{"no watch", []string{"phase", "get", "--watch", "-1s"}, []string{"below 0"}},
		{"dead before", []string{"phase", "get", "--dead-after", "-1s"}, []string{"below 0"}},
		{"nearly all", []string{"phase", "set", "--record", url, "--name", "x", "ramp", "99.999%"}, []string{`"ramp 99.999%" rounds to new`}},
		{"nearly none", []string{"phase", "init", "--record", url, "--name", "x", "Ramp0.001"}, []string{"rounds to mirror"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, _, stderr := hearth(t, c.args...)
			for _, want := range c.says {
				if code != exitUsage || !strings.Contains(stderr, want) {
					t.Errorf("%d, %q, want %q in it", code, stderr, want)
				}
			}
		})
	}
}

func TestUsage_VersionAndEnvironmentAreTold(t *testing.T) {
	if code, stdout, stderr := hearth(t, "--version"); code != exitOK || !strings.Contains(stdout, "hearth version ") {
		t.Errorf("%d, %q, %q", code, stdout, stderr)
	}
	if _, stdout, _ := hearth(t, "help"); !strings.Contains(stdout, "HEARTH_AT") {
		t.Errorf("no HEARTH_AT in %q", stdout)
	}
}

// Whoever reads the line of --json gets one, and only one, whatever goes wrong.
func TestJSON_AnErrorIsALineToo(t *testing.T) {
	_, good := startRedis(t)
	dead := "redis://u:secret@" + nobody(t)
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"copy", []string{"copy", "--from", dead, "--to", good}, exitConnect, "cannot reach"},
		{"verify", []string{"verify", "--from", good, "--to", dead}, exitConnect, "cannot reach"},
		{"delete", []string{"delete", "--at", dead, "--prefix", "x"}, exitConnect, "cannot reach"},
		{"phase get", []string{"phase", "get", "--record", dead, "--name", "x"}, exitConnect, "cannot reach"},
		{"no record", []string{"phase", "get", "--record", good, "--name", "x"}, exitFailed, "no process has joined"},
		{"set without a record", []string{"phase", "set", "--record", good, "--name", "x", "new"}, exitFailed, "no process has joined"},
		{"no target", []string{"copy", "--from", good}, exitUsage, "--to"},
		{"nothing compared", []string{"verify", "--from", good, "--to", good, "--add-prefix", "v2:"}, exitFailed, "no key was compared"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := hearth(t, append(c.args, "--json")...)
			var line struct{ Error string }
			err := json.Unmarshal([]byte(stdout), &line)
			if code != c.code || err != nil || !strings.Contains(line.Error, c.says) || strings.Contains(stdout+stderr, "secret") {
				t.Errorf("%d, %v, %q, %q", code, err, stdout, stderr)
			}
		})
	}
}

// A prefix that no key has is no proof that two servers are equal.
func TestVerify_NothingComparedIsNoSuccess(t *testing.T) {
	c, from := startRedis(t)
	d, to := startRedis(t)
	load(t, c, 20)
	load(t, d, 20)
	code, stdout, stderr := hearth(t, "verify", "--from", from, "--to", to, "--prefix", "kye:", "--both-ways")
	if code != exitFailed || !strings.Contains(stdout, "compared  0 keys") || !strings.Contains(stderr, "no key was compared") {
		t.Errorf("%d, %q, %q", code, stdout, stderr)
	}
	if code, stdout, stderr := hearth(t, "verify", "--from", from, "--to", to, "--prefix", "key:", "--sample", "7"); code != exitOK || !strings.Contains(stdout, "compared  7 keys") {
		t.Errorf("%d, %q, %q", code, stdout, stderr)
	}
}

// What is to be known of a copy without leases is said where it matters, and nowhere else.
func TestCopy_SaysThatItWasNotFenced(t *testing.T) {
	c, from := startRedis(t)
	_, to := startRedis(t)
	load(t, c, 3)
	for _, args := range [][]string{{"--dry-run"}, {}, {"--overwrite"}, {"--fenced"}} {
		want := len(args) == 0 || args[0] == "--overwrite"
		code, stdout, stderr := hearth(t, append([]string{"copy", "--from", from, "--to", to}, args...)...)
		if code != exitOK || strings.Contains(stdout, "note: the copy was not fenced") != want {
			t.Errorf("%v: %d, %q, %q", args, code, stdout, stderr)
		}
	}
}
