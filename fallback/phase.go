package fallback

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Phase is a step of a migration. Phases are ordered, and neighbours may be in force in
// different processes at the same time (see [Phase.Compatible]). The zero Phase is [PhaseOld].
type Phase uint16

// shares is how finely a ramp can be set: hundredths of a percent.
const shares = 100 * 100

// The phases. Between PhaseMirror and PhaseNew lies [Ramp].
const (
	// PhaseOld: old answers and takes all writes. New is only told to forget what changed, so
	// that nothing stale waits there for a migration that went back and will come again.
	PhaseOld Phase = 0
	// PhaseMirror: as PhaseOld, and what was read from old is copied to new in the background.
	PhaseMirror Phase = 1
	// PhaseNew: new answers; what it lacks is read from old and copied. New takes all writes
	// and old is told to forget.
	PhaseNew Phase = PhaseMirror + shares
	// PhaseRetire: as PhaseNew, but old is no longer read. When every process is here, old can
	// be taken out of the configuration.
	PhaseRetire Phase = PhaseNew + 1
)

// Ramp is the phase in which percent (0 to 100, in steps of 0.01) of the keys are as in
// [PhaseNew] and the others as in [PhaseMirror]. Which keys is decided by a hash that is the
// same in every process, and a key that is in stays in as the percentage grows. Ramp(0) is
// PhaseMirror, Ramp(100) is PhaseNew; what lies beyond is taken for these.
func Ramp(percent float64) Phase {
	n := int(percent*100 + 0.5)
	return PhaseMirror + Phase(min(max(n, 0), shares))
}

// Percent returns the share of the keys for which new answers.
func (p Phase) Percent() float64 { return float64(p.share()) / 100 }

func (p Phase) share() uint64 {
	switch {
	case p <= PhaseMirror:
		return 0
	case p >= PhaseNew:
		return shares
	}
	return uint64(p - PhaseMirror)
}

// Valid reports whether p is a phase.
func (p Phase) Valid() bool { return p <= PhaseRetire }

// Compatible reports whether processes in p and q can work side by side without anybody
// reading a stale value. PhaseOld goes with itself and PhaseMirror only: a process in PhaseOld
// does not wait for new to have forgotten what it changed. All others go with one another.
func (p Phase) Compatible(q Phase) bool {
	return min(p, q) >= PhaseMirror || max(p, q) <= PhaseMirror
}

// String returns "old", "mirror", "ramp 12.5%", "new" or "retire".
func (p Phase) String() string {
	switch {
	case p == PhaseOld:
		return "old"
	case p == PhaseMirror:
		return "mirror"
	case p == PhaseNew:
		return "new"
	case p == PhaseRetire:
		return "retire"
	case p > PhaseRetire:
		return fmt.Sprintf("Phase(%d)", uint16(p))
	}
	return "ramp " + strconv.FormatFloat(p.Percent(), 'f', -1, 64) + "%"
}

// ParsePhase reads what String writes; the percent sign and the blank may be left out.
func ParsePhase(s string) (Phase, error) {
	switch s = strings.ToLower(strings.TrimSpace(s)); s {
	case "old":
		return PhaseOld, nil
	case "mirror":
		return PhaseMirror, nil
	case "new":
		return PhaseNew, nil
	case "retire":
		return PhaseRetire, nil
	}
	if share, ok := strings.CutPrefix(s, "ramp"); ok {
		f, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(share, "%")), 64)
		if err == nil && f >= 0 && f <= 100 {
			return Ramp(f), nil
		}
	}
	return 0, fmt.Errorf("fallback: no phase %q: want old, mirror, ramp 25%%, new or retire", s)
}

// MarshalText implements [encoding.TextMarshaler].
func (p Phase) MarshalText() ([]byte, error) {
	if !p.Valid() {
		return nil, fmt.Errorf("fallback: %v is no phase", p)
	}
	return []byte(p.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Phase) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePhase(string(text))
	return err
}

// mode is what a phase means for one key.
type mode uint8

const (
	modeOld mode = iota
	modeMirror
	modeNew
	modeRetire
)

// newAnswers reports whether new is the authority, the store whose answer counts.
func (m mode) newAnswers() bool { return m >= modeNew }

// view is what the phase in force at the beginning of a call means for its key. A call keeps it
// to its end: phases that can follow each other can also overlap.
type view struct {
	mode
	// lenient: no process can be reading the store that is not the authority, so a change that
	// it missed may be delivered later without the caller having to know.
	lenient bool
}

func (p Phase) mode(key string) mode {
	switch {
	case p == PhaseOld:
		return modeOld
	case p == PhaseMirror:
		return modeMirror
	case p == PhaseRetire:
		return modeRetire
	case p == PhaseNew, xxhash.Sum64String(key)%shares < p.share():
		return modeNew
	}
	return modeMirror
}
