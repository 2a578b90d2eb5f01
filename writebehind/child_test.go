package writebehind_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/bolt"
)

// childProducer accepts writes for a source that never answers, and prints each one that was
// accepted, until it is killed.
func childProducer(dir string) {
	j, err := bolt.Open(bolt.Config{Path: filepath.Join(dir, "journal")})
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	w, err := writebehind.New(writebehind.Config[string]{
		Journal: j,
		Sink: writebehind.SinkFunc[string](func(context.Context, []writebehind.Op[string]) error {
			return errors.New("not yet")
		}),
	})
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	from, _ := strconv.Atoi(os.Getenv("WRITEBEHIND_FROM"))
	var mu sync.Mutex
	for p := range 16 {
		go func() {
			for n := from; ; n++ {
				key := fmt.Sprintf("p%d-%d", p, n%5)
				err := w.Write(context.Background(), []tier.Mutation[string]{{Key: key, Value: strconv.Itoa(n)}})
				mu.Lock()
				if err != nil {
					fmt.Println("error:", err)
				} else {
					fmt.Println(key, n)
				}
				mu.Unlock()
			}
		}()
	}
	select {}
}

func TestJournal_NoAcceptedWriteIsLostByKillMinusNine(t *testing.T) {
	dir := t.TempDir()
	accepted := map[string]int{}
	total, from := 0, 0
	for range 3 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "WRITEBEHIND_CHILD="+dir, "WRITEBEHIND_FROM="+strconv.Itoa(from))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 2000 {
				cmd.Process.Kill() // and read what it had printed before
			}
			key, value, ok := strings.Cut(lines.Text(), " ")
			v, err := strconv.Atoi(value)
			if !ok || err != nil {
				if n < 2000 {
					t.Fatal(lines.Text())
				}
				continue // the last line, cut by the kill
			}
			accepted[key] = max(accepted[key], v)
			from = max(from, v+1)
			total++
		}
		cmd.Wait()
	}
	j, err := bolt.Open(bolt.Config{Path: filepath.Join(dir, "journal")})
	if err != nil {
		t.Fatal(err)
	}
	s := newSource()
	w := newWriter(t, writebehind.Config[string]{Sink: s, Journal: j})
	flush(t, w)
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost := 0
	for key, want := range accepted {
		if got, _ := strconv.Atoi(s.row(key)); got < want {
			lost++
		}
	}
	if lost > 0 || len(s.wrong) > 0 || total < 6000 {
		t.Errorf("%d of %d keys lost their newest accepted write (%d accepted), order: %v", lost, len(accepted), total, s.wrong)
	}
}
