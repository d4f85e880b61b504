package main

import (
	"context"
	"fmt"
	"os/exec"
)

// command runs a program and returns what it printed with its error.
func command(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

func mountTmpfs(ctx context.Context, dir string, bytes int) error {
	return command(ctx, "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", bytes), "tonearm-faults", dir)
}

func resizeTmpfs(ctx context.Context, dir string, bytes int) error {
	return command(ctx, "mount", "-o", fmt.Sprintf("remount,size=%d", bytes), dir)
}

// remount changes the options of a mounted file system.
func remount(ctx context.Context, dir, options string) error {
	return command(ctx, "mount", "-o", "remount,"+options, dir)
}

func unmount(ctx context.Context, dir string) error { return command(ctx, "umount", "-l", dir) }
