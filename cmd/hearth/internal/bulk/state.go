package bulk

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// state is what a copy keeps in its file, to go on after it was killed. What lies before Cursor is
// done and counted in Tally.
type state struct {
	Version int       `json:"version"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Job     string    `json:"job"` // the filter and the mode: another job must not go on here
	Cursor  string    `json:"cursor"`
	Done    bool      `json:"done"`
	Tally   Tally     `json:"tally"`
	Spent   float64   `json:"seconds"` // by all runs
	Runs    int       `json:"runs"`
	Saved   time.Time `json:"saved"`
	Remarks []string  `json:"remarks,omitempty"`
	Open    bool      `json:"open"` // a run is going on, or was killed
}

const stateVersion = 1

// id identifies what is copied, and how; without what a URL may hold in secrets.
func (j *Job) id() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%v|%v|%v", j.From.name, j.To.name, &j.Filter, j.Mode, j.To.hashKeys))
	return hex.EncodeToString(sum[:8])
}

// loadState reads a state file; without one it returns what begins the job.
func loadState(file string, want state) (state, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return want, nil
	}
	if err != nil {
		return state{}, err
	}
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return state{}, fmt.Errorf("%s is no state file: %w", file, err)
	}
	switch {
	case s.Version != stateVersion:
		return state{}, fmt.Errorf("%s was written by another version (%d)", file, s.Version)
	case s.Job != want.Job:
		return state{}, fmt.Errorf("%s belongs to another copy (from %s to %s, or with other filters, another mode or other --hash-keys); give this one a file of its own", file, s.From, s.To)
	}
	return s, nil
}

// save replaces the state file, so that after a crash there is the new one or the one before.
func (s *state) save(file string) error {
	s.Saved = time.Now().UTC()
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".tmp*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(text, '\n'))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
