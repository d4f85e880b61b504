package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// usage is how much processor time each program of the node has used.
type usage struct {
	wall     time.Duration
	programs map[string]float64 // seconds
}

var started = time.Now()

// others is what else this machine does. If that is much, times say little.
const others = "other work here"

// clockTick is the unit of /proc/PID/stat on every Linux that Go runs on.
const clockTick = 100

// processors looks at all processes in this namespace: those of the node and
// those beside it. up is the process id of tonearm up; other processes of that
// program are its object store.
func processors(up int) usage {
	u := usage{time.Since(started), map[string]float64{}}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, _ := os.ReadFile(path) // '' if it has ended meanwhile
		arguments, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		program, _, _ := bytes.Cut(arguments, []byte{0})
		name := filepath.Base(string(program))
		switch pid := filepath.Base(filepath.Dir(path)); {
		case pid == strconv.Itoa(up):
			name = "tonearm up"
		case name == "tonearm":
			name = "object store"
		case pid == strconv.Itoa(os.Getpid()):
			name = "uploads and attempts"
		}
		u.programs[name] += seconds(stat)
		u.programs[others] -= seconds(stat)
	}
	u.programs[others] += machine()
	return u
}

// seconds is the processor time in a process's stat, in user and system mode:
// the 12th and 13th word after its name, which is in brackets.
func seconds(stat []byte) float64 {
	words := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(words) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(words[11], 64)
	system, _ := strconv.ParseFloat(words[12], 64)
	return (user + system) / clockTick
}

// machine returns the processor time of everything on this machine: the sum of
// the first line's numbers up to stolen time, without the fourth and fifth,
// which are idle time.
func machine() (all float64) {
	stat, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(stat), "\n")
	for i, word := range strings.Fields(line) {
		if ticks, err := strconv.ParseFloat(word, 64); err == nil && i < 9 && i != 4 && i != 5 {
			all += ticks / clockTick
		}
	}
	return all
}

// since is what was used after before.
func (u usage) since(before usage) usage {
	d := usage{u.wall - before.wall, maps.Clone(u.programs)}
	for name, s := range before.programs {
		d.programs[name] -= s
	}
	return d
}

// sorted returns the programs, starting with the one that used most, and the
// time that all of them used.
func (u usage) sorted() (names []string, all float64) {
	for name, s := range u.programs {
		names, all = append(names, name), all+s
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(u.programs[b], u.programs[a]) })
	return names, all
}

// shares says which programs used a twentieth or more.
func (u usage) shares() string {
	names, all := u.sorted()
	var shares []string
	for _, name := range names {
		if share := u.programs[name] / all; share >= .05 {
			shares = append(shares, fmt.Sprintf("%s %.0f %%", name, 100*share))
		}
	}
	return fmt.Sprintf("processors %.0f %% busy: %s", 100*all/u.wall.Seconds()/float64(runtime.NumCPU()), strings.Join(shares, ", "))
}

// table lists the programs for people, with the time for each file.
func (u usage) table(files int) string {
	names, all := u.sorted()
	var t strings.Builder
	for _, name := range names {
		if s := u.programs[name]; s >= .01*all {
			fmt.Fprintf(&t, "  %-24s %8.1f s %7.2f ms a file\n", name, s, 1000*s/float64(files))
		}
	}
	return t.String()
}

// memory is the resident memory of a process, in MB.
type memory struct {
	now, peak float64
	file      float64 // at present: pages of files, such as the program's own
}

func memoryOf(pid int) (m memory) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		words := strings.Fields(line)
		if len(words) != 3 {
			continue
		}
		kb, _ := strconv.ParseFloat(words[1], 64)
		switch words[0] {
		case "VmRSS:":
			m.now = kb / 1000
		case "VmHWM:":
			m.peak = kb / 1000
		case "RssFile:":
			m.file = kb / 1000
		}
	}
	return m
}
