//go:build !linux

package server

import "syscall"

// isolate puts a child into a process group of its own.
func isolate(a *syscall.SysProcAttr) *syscall.SysProcAttr {
	a.Setpgid = true
	return a
}

// EndWithParent needs Linux.
func EndWithParent() error { return nil }
