package servers

import "syscall"

// dieWithParent makes the kernel kill the child when the thread that started it
// ends, which is when this process dies.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
