// Package version says which Tonearm a program is.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// stamped is the version that the linker writes into a program, as in
// -ldflags '-X tonearm/internal/version.stamped=v0.2.0'. Makefile and
// scripts/images do it.
var stamped string

// String returns the version, such as v0.2.0. A program without a stamp returns
// the first 12 characters of its commit, with -dirty for uncommitted changes, or
// "dev" if the commit is not known either.
func String() string {
	if stamped != "" {
		return stamped
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	return ofCommit(info.Settings)
}

// ofCommit returns the version that the build's settings describe.
func ofCommit(settings []debug.BuildSetting) string {
	commit, dirty := "dev", ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision" && s.Value != "":
			commit = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	return commit + dirty
}

// Details returns the version with what built the program and for which system,
// such as "v0.2.0 go1.26.0 linux/amd64".
func Details() string {
	return fmt.Sprintf("%s %s %s/%s", String(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
