package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestRun_LosesVisitsTheNaiveWayOnly(t *testing.T) {
	for _, s := range []settings{
		{Server: "redis"},
		{Server: "redis", Embedded: true},
		{Server: "memcached"},
		{Server: "memcached", Embedded: true},
	} {
		t.Run(fmt.Sprintf("%s embedded %v", s.Server, s.Embedded), func(t *testing.T) {
			s.Processes, s.Visits = 4, 30
			var out strings.Builder
			if err := run(&out, s); err != nil { // says which way lost what it must not lose
				t.Error(err)
			}
			t.Log(out.String())
			for line := range strings.Lines(out.String()) {
				if f := strings.Fields(line); len(f) == 5 && f[0] == "naive" && f[3] == "0" {
					t.Error("the naive way lost nothing: the processes did not run at the same time")
				}
			}
		})
	}
}

func TestRun_RefusesAnotherServer(t *testing.T) {
	if err := run(&strings.Builder{}, settings{Server: "mysql"}); err == nil {
		t.Error("no error")
	}
}
