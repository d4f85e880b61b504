package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"tonearm/test/server"
)

// programs are Tonearm's programs of one version.
type programs struct {
	dir   string
	stamp string // distinguishes one set of programs from another

	version string // what the gateway says

	mu    sync.Mutex
	flags map[string]map[string]bool // by command: the flags that it has
}

var versionIn = regexp.MustCompile(`(\S+) go\d`)

// openPrograms looks at the programs in a folder.
func openPrograms(ctx context.Context, dir string) (*programs, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	for _, name := range []string{"gateway", "dispatcher", "notifier", "transcoder", "tonearm"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("a program of Tonearm is missing (make build): %w", err)
		}
		hash.Write(b)
	}
	p := &programs{dir: dir, stamp: hex.EncodeToString(hash.Sum(nil)[:6]), flags: map[string]map[string]bool{}}
	said, err := exec.CommandContext(ctx, p.path("gateway"), "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("the version of the programs: %w", err)
	}
	if m := versionIn.FindSubmatch(said); m != nil {
		p.version = string(m[1])
	}
	return p, nil
}

func (p *programs) path(name string) string { return filepath.Join(p.dir, name) }

// start runs a command in a scratch folder as a service, with addresses of its own.
func (p *programs) start(ctx context.Context, in *server.Scratch, name string, command, flags []string) (s *service, listen string, err error) {
	listen, err = server.FreeAddr(ctx)
	if err != nil {
		return nil, "", err
	}
	admin, err := server.FreeAddr(ctx)
	if err != nil {
		return nil, "", err
	}
	flags, err = p.known(ctx, command, append(flags, "--listen="+listen, "--admin-listen="+admin))
	if err != nil {
		return nil, "", err
	}
	process, err := in.Run(ctx, name, p.path(command[0]), slices.Concat(command[1:], flags))
	if err != nil {
		return nil, "", err
	}
	return &service{process, admin}, listen, nil
}

var flagInHelp = regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z0-9-]+)`)

// known returns those of the flags that a command has. Each flag is --name=value.
// Older programs lack some.
func (p *programs) known(ctx context.Context, command []string, flags []string) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := strings.Join(command, " ")
	if p.flags[name] == nil {
		help, err := exec.CommandContext(ctx, p.path(command[0]), append(command[1:], "--help")...).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%s --help: %w: %s", name, err, help)
		}
		has := map[string]bool{}
		for _, m := range flagInHelp.FindAllSubmatch(help, -1) {
			has[string(m[1])] = true
		}
		p.flags[name] = has
	}
	var kept []string
	for _, f := range flags {
		flag, _, _ := strings.Cut(strings.TrimPrefix(f, "--"), "=")
		if p.flags[name][flag] {
			kept = append(kept, f)
		}
	}
	return kept, nil
}
