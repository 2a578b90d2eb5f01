//go:build !windows

package bolt

import (
	"fmt"
	"os"
)

// replaceable: a file that is open may be replaced by another.
const replaceable = true

// syncDir makes the names in dir survive a power failure.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("writebehind/bolt: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("writebehind/bolt: sync %s: %w", dir, err)
	}
	return nil
}
