//go:build !linux

package media

import "syscall"

func procAttr() *syscall.SysProcAttr { return nil }
