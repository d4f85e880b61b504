//go:build !linux

package ffmpeg

import "syscall"

func procAttr() *syscall.SysProcAttr { return nil }
