// Command writebehind shows that an accepted write survives kill -9.
//
// It accepts a visit every few milliseconds, says so, and writes them to a file, its source of
// record, which is slow. Kill it and start it again:
//
//	go build -o visits ./examples/writebehind
//	./visits &
//	kill -9 %1
//	./visits -check
//
// (Killing "go run" would kill that, and leave the program alive.) The second run finds what was accepted and not written, writes it, and tells whether anything
// that the first one had accepted is missing.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hearthcache/hearth/tier"
	"github.com/hearthcache/hearth/writebehind"
	"github.com/hearthcache/hearth/writebehind/bolt"
)

func main() {
	dir := flag.String("dir", filepath.Join(os.TempDir(), "hearth-writebehind"), "where journal and source are")
	check := flag.Bool("check", false, "deliver what is left, and compare")
	n := flag.Int("n", 0, "end after so many writes, cleanly; 0 = go on until killed")
	flag.Parse()
	if err := run(*dir, *check, *n); err != nil {
		fmt.Fprintln(os.Stderr, "writebehind:", err)
		os.Exit(1)
	}
}

func run(dir string, check bool, n int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	journal, err := bolt.Open(bolt.Config{Path: filepath.Join(dir, "journal.db")})
	if err != nil {
		return err
	}
	source := &table{path: filepath.Join(dir, "source.txt"), slow: !check}
	w, err := writebehind.New(writebehind.Config[int]{Sink: source, Journal: journal})
	if err != nil {
		return err
	}
	fmt.Println(w.Stats().Replayed, "writes found in the journal")
	ctx := context.Background()
	if !check {
		if err := visit(ctx, w, filepath.Join(dir, "accepted.txt"), n); err != nil {
			return err
		}
		return w.Close(ctx)
	}
	if err := w.Close(ctx); err != nil {
		return err
	}
	return compare(filepath.Join(dir, "accepted.txt"), source.path)
}

// visit counts visits of ten pages, and notes in a file what was accepted.
func visit(ctx context.Context, w *writebehind.Writer[int], path string, n int) error {
	accepted, err := readTable(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	for i := 0; n == 0 || i < n; i++ {
		page := fmt.Sprint("page-", i%10)
		accepted[page]++
		if err := w.Write(ctx, []tier.Mutation[int]{{Key: page, Value: accepted[page]}}); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(f, page, accepted[page]); err != nil {
			return err
		}
		if i%100 == 99 {
			s := w.Stats()
			fmt.Printf("%d accepted, %d written, %d replaced by newer ones, %d waiting\n", s.Accepted, s.Applied, s.Coalesced, s.Depth)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

// table is a file with a line per write; the last line of a page counts.
type table struct {
	path string
	slow bool
}

// Apply implements writebehind.Sink. A line that comes twice changes nothing, and the queue
// keeps the order of a page.
func (t *table) Apply(_ context.Context, ops []writebehind.Op[int]) error {
	if t.slow {
		time.Sleep(300 * time.Millisecond)
	}
	f, err := os.OpenFile(t.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	var lines strings.Builder
	for _, op := range ops {
		fmt.Fprintln(&lines, op.Key, op.Value)
	}
	if _, err := f.WriteString(lines.String()); err != nil {
		return err
	}
	return f.Sync()
}

// readTable returns the last number of each page; a line cut by a kill does not count.
func readTable(path string) (map[string]int, error) {
	rows := map[string]int{}
	p, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return rows, nil
	}
	lines := bufio.NewScanner(strings.NewReader(string(p)))
	for lines.Scan() {
		page, number, ok := strings.Cut(lines.Text(), " ")
		if v, err := strconv.Atoi(number); ok && err == nil {
			rows[page] = v
		}
	}
	return rows, err
}

func compare(acceptedPath, sourcePath string) error {
	accepted, err := readTable(acceptedPath)
	if err != nil {
		return err
	}
	written, err := readTable(sourcePath)
	if err != nil {
		return err
	}
	lost := 0
	for page, v := range accepted {
		if written[page] < v {
			lost++
			fmt.Printf("%s: %d accepted, %d in the source\n", page, v, written[page])
		}
	}
	fmt.Printf("%d pages accepted, %d lost\n", len(accepted), lost)
	if lost > 0 {
		return fmt.Errorf("%d pages lost", lost)
	}
	return nil
}
