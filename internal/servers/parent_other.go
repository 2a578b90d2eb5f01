//go:build !linux

package servers

import "syscall"

// dieWithParent has no counterpart outside Linux: there a test process that is
// killed leaves its servers behind.
func dieWithParent() *syscall.SysProcAttr { return nil }
