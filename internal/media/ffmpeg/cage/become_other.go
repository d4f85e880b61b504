//go:build !linux

package cage

import (
	"context"
	"os"
	"syscall"
)

// Program is what is known of a program; here nothing.
type Program struct{}

func inspect(string) (Program, error) { return Program{}, nil }

func (o *order) attributes() *syscall.SysProcAttr { return nil }

func (o *order) share([]*os.File) error { return nil }

// run runs the program. No other system has the measures, or limits memory in a
// way that helps.
func (o *order) run(args []string) error {
	return syscall.Exec(o.Path, args, os.Environ())
}

// Hide does nothing: other systems let no process look into another one that easily.
func Hide() error { return nil }

// Look says that only the limits hold.
func Look(context.Context, string, bool) ([]Taken, error) {
	taken := []Taken{{Measure: Limits}}
	for _, m := range Measures[1:] {
		taken = append(taken, Taken{m, "only on Linux"})
	}
	return taken, nil
}
