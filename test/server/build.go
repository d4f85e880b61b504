package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Cache is the folder of what is built once: TONEARM_CACHE, or tonearm in the
// user's cache directory.
func Cache() (string, error) {
	cache := os.Getenv("TONEARM_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no cache folder, set TONEARM_CACHE: %w", err)
		}
		cache = filepath.Join(user, "tonearm")
	}
	return filepath.Abs(cache)
}

// cached returns the path of a program in the cache. If it is missing, build
// makes it in a folder, under name. version is a part of the file name, so each
// version has its own file.
func cached(name, version string, build func(dir string) *exec.Cmd) (string, error) {
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(cache, "bin")
	path := filepath.Join(bin, name+"-"+version)
	if _, err := os.Stat(path); err == nil { //nolint:gosec // the user names the cache
		return path, nil
	}
	if err := os.MkdirAll(bin, 0o750); err != nil { //nolint:gosec // the user names the cache
		return "", err
	}
	dir, err := os.MkdirTemp(bin, "build-") // in the same folder, so that a rename is enough
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }() //nolint:gosec // the user names the cache
	fmt.Fprintf(os.Stderr, "servers: building %s into %s; this can take minutes, once\n", name, bin)
	cmd := build(dir)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = isolate(&syscall.SysProcAttr{})
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	if err := os.Rename(filepath.Join(dir, name), path); err != nil { //nolint:gosec // the user names the cache
		return "", err
	}
	return path, nil
}

// installed returns the path of a Go program from another module, in the cache.
func installed(ctx context.Context, name, module, version string) (string, error) {
	return cached(name, version, func(dir string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "go", "install", module+"@"+version)
		cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "GOWORK=off")
		return cmd
	})
}

// built returns the path of the Go program whose module is in source, in the
// cache. The version follows from its Go files and the compiler.
func built(ctx context.Context, name, source string) (string, error) {
	files, err := filepath.Glob(filepath.Join(source, "*.go"))
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version())
	for _, file := range append(files, filepath.Join(source, "go.mod"), filepath.Join(source, "go.sum")) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(hash, filepath.Base(file), len(content))
		hash.Write(content)
	}
	return cached(name, hex.EncodeToString(hash.Sum(nil)[:8]), func(dir string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", dir, ".") //nolint:gosec // the user names the cache
		cmd.Dir = source
		cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
		return cmd
	})
}

// Repository returns the root of Tonearm's repository.
func Repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "test", "server")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("not in Tonearm's repository")
		}
		dir = filepath.Dir(dir)
	}
}
