//go:build !linux

package main

import (
	"context"
	"errors"
)

var errLinux = errors.New("needs Linux")

func mountTmpfs(context.Context, string, int) error  { return errLinux }
func resizeTmpfs(context.Context, string, int) error { return errLinux }
func unmount(context.Context, string) error          { return errLinux }
func remount(context.Context, string, string) error  { return errLinux }

func command(context.Context, string, ...string) error { return errLinux }
