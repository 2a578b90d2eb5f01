package servers_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hearthcache/hearth/internal/servers"
	"github.com/hearthcache/hearth/internal/servers/serverstest"
)

// actAsParent is the environment variable that turns this test binary into a
// process that starts a server and is then killed.
const actAsParent = "HEARTH_TEST_PARENT"

// parent starts a server, says its process id and waits to be killed.
func parent(how string) {
	o := servers.Options{MustBeReal: true}
	if how == "orphan" {
		o = servers.Orphan(o)
	}
	s, err := servers.StartRedis(o)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for range 100 { // threads come and go: the tie must not be to one of them
		go func() { runtime.LockOSThread() }()
	}
	fmt.Println(s.PID())
	select {}
}

func TestServer_DiesWithTheProcessThatStartedIt(t *testing.T) {
	serverstest.Real(t, serverstest.Redis(t))
	if pid := orphanOf(t, "tied"); !gone(pid, 5*time.Second) {
		t.Errorf("server %d outlived the process that started it", pid)
	}
	// Without the tie it stays: otherwise this test could not fail.
	pid := orphanOf(t, "orphan")
	if gone(pid, 200*time.Millisecond) {
		t.Error("the server is gone without the tie too")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

// orphanOf runs a parent, kills it and returns the process id of its server.
func orphanOf(t *testing.T, how string) int {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), actAsParent+"="+how, "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(line)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	return pid
}

// gone waits for the end of a process; a zombie has ended.
func gone(pid int, within time.Duration) bool {
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return true
		}
	}
	return false
}
