//go:build unix

package checker

import (
	"fmt"
	"os"
	"syscall"
)

// Open maps the History of so many keys in the file at path into memory, and makes the file if
// it is not there. All processes that open it share it.
func Open(path string, keys int) (*History, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("checker: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Truncate(int64(size(keys))); err != nil {
		return nil, fmt.Errorf("checker: %w", err)
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, size(keys), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("checker: map %s: %w", path, err)
	}
	return over(mem, keys, func() error { return syscall.Munmap(mem) }), nil
}
