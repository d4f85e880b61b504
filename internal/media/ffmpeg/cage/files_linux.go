package cage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/landlock-lsm/go-landlock/landlock"
	rights "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

const (
	readFile   = landlock.AccessFSSet(rights.AccessFSReadFile)
	writeFile  = landlock.AccessFSSet(rights.AccessFSWriteFile | rights.AccessFSTruncate)
	runFile    = landlock.AccessFSSet(rights.AccessFSReadFile | rights.AccessFSExecute)
	readFolder = landlock.AccessFSSet(rights.AccessFSReadFile | rights.AccessFSReadDir)
	useDevice  = landlock.AccessFSSet(rights.AccessFSReadFile | rights.AccessFSWriteFile | rights.AccessFSIoctlDev)
)

// harmless are devices that libraries open.
var harmless = []string{"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"}

// What CUDA opens, by NVIDIA's documentation of what a container needs.
var (
	gpuDevices = []string{"/dev/nvidia*", "/dev/nvidia-caps/*", "/dev/dri/*"}
	gpuFolders = []string{"/proc", "/sys", "/etc", "/run/nvidia-persistenced"}
)

// needs are what the program may open: itself and its libraries, its files, and nothing
// else.
func (o *order) needs() map[string]landlock.AccessFSSet {
	may := map[string]landlock.AccessFSSet{}
	add := func(path string, r landlock.AccessFSSet) {
		if stat, err := os.Stat(path); err == nil {
			if !stat.IsDir() {
				r &^= landlock.AccessFSSet(rights.AccessFSReadDir)
			}
			may[path] |= r
		}
	}
	add(o.Path, runFile)
	if o.Loader != "" {
		add(o.Loader, runFile)
	}
	for _, l := range o.Libraries {
		add(l, readFolder)
	}
	for _, d := range harmless {
		add(d, readFile|landlock.AccessFSSet(rights.AccessFSWriteFile))
	}
	for _, n := range o.ReadOnly {
		add(descriptor(n), readFile)
	}
	for _, n := range o.Writable {
		add(descriptor(n), writeFile)
	}
	if o.GPU {
		for _, pattern := range gpuDevices {
			found, _ := filepath.Glob(pattern)
			for _, d := range found {
				add(d, useDevice)
			}
		}
		for _, f := range gpuFolders {
			add(f, readFolder)
		}
	}
	return may
}

// ruleset makes a Landlock ruleset of what the program may open.
func (o *order) ruleset() (int, error) {
	if o.Script {
		return -1, errScript
	}
	var rules []landlock.Rule
	for path, r := range o.needs() {
		rules = append(rules, landlock.PathAccess(r, path))
	}
	fd, _, err := landlock.V11.BestEffort().NewRulesetFD(rules...)
	if err != nil {
		return -1, err
	}
	if fd < 0 {
		return -1, errors.New("the kernel has no Landlock")
	}
	return fd, nil
}

// descriptor is the name under which a file that is open can be opened again.
func descriptor(n int) string { return fmt.Sprintf("/proc/self/fd/%d", n) }
