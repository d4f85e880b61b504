package cage

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Program is what a program needs to be run.
type Program struct {
	Script    bool     // not a program of its own: it may run any others
	Loader    string   // of its libraries; '' if it has none
	Libraries []string // files and folders that they are in
	Private   bool     // other users cannot run it
}

// system is where libraries usually are, and how the loader finds them.
var system = []string{"/lib", "/lib32", "/lib64", "/usr", "/etc/ld.so.cache"}

type inspected struct {
	path string
	size int64
	time time.Time
}

var known sync.Map // inspected → Program

// inspect finds out what a program needs.
func inspect(path string) (Program, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return Program{}, err
	}
	key := inspected{path, stat.Size(), stat.ModTime()}
	if p, ok := known.Load(key); ok {
		return p.(Program), nil
	}
	p, err := look(path)
	if err != nil {
		return Program{}, err
	}
	known.Store(key, p)
	return p, nil
}

func look(path string) (Program, error) {
	f, err := elf.Open(path)
	if bad := (*elf.FormatError)(nil); errors.As(err, &bad) || err != nil && !errors.Is(err, os.ErrPermission) && !errors.Is(err, os.ErrNotExist) {
		return Program{Script: true}, nil // or nothing that can be run, which shows then
	}
	if err != nil {
		return Program{}, err
	}
	defer f.Close()
	p := Program{Private: !everybodyMay(path, 0o1)}
	for _, h := range f.Progs {
		if h.Type == elf.PT_INTERP && h.Filesz > 1 && h.Filesz < 4096 {
			text := make([]byte, h.Filesz)
			if _, err := h.ReadAt(text, 0); err != nil {
				return p, err
			}
			p.Loader = strings.TrimRight(string(text), "\x00")
		}
	}
	if p.Loader == "" {
		return p, nil
	}
	p.Libraries = append(p.Libraries, system...)
	p.Libraries = append(p.Libraries, filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))...)
	if own, _ := f.DynString(elf.DT_RUNPATH); len(own) == 0 {
		if own, _ = f.DynString(elf.DT_RPATH); len(own) == 0 && within(p.Loader, system) {
			return p.judged(), nil
		}
	}
	if err := p.ask(path); err != nil {
		return p, err
	}
	return p.judged(), nil
}

// judged notes whether other users can open the libraries.
func (p Program) judged() Program {
	for _, l := range p.Libraries {
		p.Private = p.Private || !slices.Contains(system, l) && !within(l, system) && !reachable(l)
	}
	return p
}

// everybodyMay reports whether a file or folder has these permissions for everybody.
func everybodyMay(path string, bits os.FileMode) bool {
	stat, err := os.Stat(path)
	return err == nil && stat.Mode().Perm()&bits == bits
}

// reachable reports whether everybody may read what is there.
func reachable(path string) bool {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return true // nobody misses it
	}
	if !everybodyMay(path, 0o4) {
		return false
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if !everybodyMay(dir, 0o1) {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

func within(path string, folders []string) bool {
	for _, f := range folders {
		if strings.HasPrefix(path, f+"/") {
			return true
		}
	}
	return false
}

// ask adds the libraries that the loader finds for a program that says itself where
// they are.
func (p *Program) ask(path string) error {
	out, err := exec.Command(p.Loader, "--list", path).Output() //nolint:noctx // it runs nothing
	if err != nil {
		return fmt.Errorf("find the libraries of %s: %w", path, err)
	}
	for word := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(word, "/") && !within(word, system) {
			p.Libraries = append(p.Libraries, word)
		}
	}
	return nil
}
