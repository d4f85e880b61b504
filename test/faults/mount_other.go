//go:build !linux

package main

import (
	"context"
	"errors"
)

var errLinux = errors.New("needs Linux")

func mountTmpfs(context.Context, string, int) error { return errLinux }
func unmount(context.Context, string) error         { return errLinux }
