package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("EXAMPLE_DIR"); dir != "" {
		if err := run(dir, false, 0); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestRun_NothingIsLostByKillMinusNine(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "EXAMPLE_DIR="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.Contains(lines.Text(), "accepted") {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
	}
	if err := run(dir, true, 0); err != nil {
		t.Error(err)
	}
}
