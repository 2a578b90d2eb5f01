//go:build unix

package bolt_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/bolt"
)

// children are the programs that this test binary can be instead.
var children = map[string]func(){"disk-full": childDiskFull}

// childDiskFull fills a file that the kernel does not let grow beyond 256 KiB, and goes on.
func childDiskFull() {
	signal.Ignore(syscall.SIGXFSZ)
	limit := syscall.Rlimit{Cur: 256 << 10, Max: 256 << 10}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		fmt.Println("setrlimit:", err)
		return
	}
	j, err := bolt.Open(bolt.Config{Path: os.Getenv("WRITEBEHIND_BOLT_PATH")})
	if err != nil {
		fmt.Println("open:", err)
		return
	}
	var stored []writebehind.Ref
	for range 1000 {
		tx := puts(1, 5000)
		if err := j.Commit(context.Background(), tx); err != nil {
			fmt.Println("refused:", err)
			break
		}
		stored = append(stored, writebehind.Ref{Key: tx.Put[0].Key, Seq: tx.Put[0].Seq})
	}
	replayed := 0
	if err := j.Replay(context.Background(), func(writebehind.Record) error { replayed++; return nil }); err != nil {
		fmt.Println("replay:", err)
	}
	fmt.Println("kept all:", replayed == len(stored) && replayed > 10)
	fmt.Println("room again:", j.Commit(context.Background(), &writebehind.Tx{Remove: stored}),
		j.Commit(context.Background(), &writebehind.Tx{}), j.Commit(context.Background(), puts(1, 5000)))
	fmt.Println("close:", j.Close())
}

func TestCommit_FullDiskRefusesAndLosesNothing(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "WRITEBEHIND_BOLT_CHILD=disk-full",
		"WRITEBEHIND_BOLT_PATH="+filepath.Join(t.TempDir(), "j"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"refused: writebehind/bolt: journal ", "kept all: true", "room again: <nil> <nil> <nil>", "close: <nil>"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}
