package cage

import (
	"bufio"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Hide makes this process one that others of the same user cannot look into: not into
// its memory, its environment and its open files, and not with a debugger. That is
// for programs that run others in a cage where the kernel allows few measures.
func Hide() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }

// attributes says how to start a program. It ends with the thread that started it, and
// stays in its parent's process group, so that killing the group also ends it. If this
// user may do so, it gets namespaces of its own from the start; root takes them later.
func (o *order) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	network, threads := !o.without(Network), !o.without(Threads)
	if os.Geteuid() != 0 && (network || threads) && userNamespaces() {
		a.Cloneflags, o.Apart = unix.CLONE_NEWUSER, true // threads are counted in it
		if network {
			a.Cloneflags = namespaces
		}
	}
	return a
}

// namespaces are those that a user may take.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNET

// userNamespaces reports whether this user may have namespaces of its own. It starts
// a program that does not exist: how that fails tells it.
var userNamespaces = sync.OnceValue(func() bool {
	_, err := syscall.ForkExec("/proc/self/none", []string{"none"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: namespaces}})
	return err == syscall.ENOENT //nolint:errorlint // it is never wrapped
})

// A range of users that nobody has: as many as there can be processes (PID_MAX_LIMIT),
// or fewer in a user namespace that has few.
const (
	manyUsers, manySpan = 0x60000000, 1 << 22
	fewUsers, fewSpan   = 60000, 5000
)

// others says which users a program of this process may become.
type others struct {
	users, span, group int
	refused            string // why there are none
}

var otherUsers = sync.OnceValue(func() others {
	if os.Geteuid() != 0 {
		return others{refused: "only root can change it"}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&header, &have[0]); err != nil {
		return others{refused: err.Error()}
	}
	for _, c := range []uint{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_CHOWN, unix.CAP_FOWNER, unix.CAP_KILL} {
		if have[0].Effective&(1<<c) == 0 {
			return others{refused: fmt.Sprintf("root lacks capability %d", c)}
		}
	}
	for _, r := range [][2]int{{manyUsers, manySpan}, {fewUsers, fewSpan}} {
		if mapped("/proc/self/uid_map", r[0], r[1]) && mapped("/proc/self/gid_map", r[0], r[1]) {
			return others{users: r[0], span: r[1], group: r[0] + os.Getpid()%r[1]}
		}
	}
	return others{refused: "this user namespace has too few users"}
})

// mapped reports whether a user namespace has a range of users or groups.
func mapped(file string, first, span int) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var inside, outside, n int
		if _, err := fmt.Sscan(s.Text(), &inside, &outside, &n); err == nil && inside <= first && first+span <= inside+n {
			return true
		}
	}
	return false
}

// share chooses the other user, and lets its group open the files that it may open
// again. Others need not be able to.
func (o *order) share(kept []*os.File) error {
	u := otherUsers()
	o.Alone = u.refused
	switch {
	case o.without(OtherUser) || o.Script || u.users == 0:
		return nil
	case o.Private:
		o.Alone = "the program or its libraries are not for everybody"
		return nil
	case o.GPU && !forEverybody("/dev/nvidiactl"):
		o.Alone = "the GPU's devices are not for everybody"
		return nil
	}
	o.Users, o.Span, o.Group = u.users, u.span, u.group
	for _, list := range []struct {
		numbers []int
		bits    os.FileMode
	}{{o.ReadOnly, 0o4}, {o.Writable, 0o2}} {
		for _, n := range list.numbers {
			if err := open(kept[n-3], o.Group, list.bits); err != nil {
				return fmt.Errorf("share with the program: %w", err)
			}
		}
	}
	return nil
}

// open lets a group open a file, if not everybody can.
func open(f *os.File, group int, bits os.FileMode) error {
	stat, err := f.Stat()
	if err != nil {
		return err
	}
	mode := stat.Mode().Perm()
	if mode&bits == bits {
		return nil
	}
	if sys, ok := stat.Sys().(*syscall.Stat_t); ok && int(sys.Gid) == group && mode&(bits<<3) == bits<<3 {
		return nil
	}
	if err := f.Chown(-1, group); err != nil {
		return err
	}
	return f.Chmod(mode&^0o070 | bits<<3)
}

// forEverybody reports whether everybody may use a device, if it is there.
func forEverybody(device string) bool {
	_, err := os.Stat(device)
	return err != nil || everybodyMay(device, 0o6)
}
