//go:build !unix

package checker

import (
	"errors"
	"fmt"
)

// Open would share a History between processes; there is no way to do it on this system.
func Open(path string, _ int) (*History, error) {
	return nil, fmt.Errorf("checker: share %s: %w", path, errors.ErrUnsupported)
}
