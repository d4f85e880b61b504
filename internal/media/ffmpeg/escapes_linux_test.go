//go:build !race

package ffmpeg

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// target is what a program in ffmpeg's place finds around it.
type target struct {
	TCP, UDP       int    // ports of 127.0.0.1 that answer
	Unix, Abstract string // sockets that answer
	Keys           string // a file of the service's secrets
	Job            string // a file of another attempt
	Dir            string // that it runs in, with its source in it
	Outside        string // a folder that everybody may write to
	Parent         int
	Descriptor     int // of a secret, inherited by mistake
	Lock           int // descriptor of the attempt's lock
	Output         int64
	Alone          string // the one trial to make; '' for all that go together
}

// trial is one way out. It returns nil if it worked.
type trial struct {
	name string
	do   func(t target, source, output string) error
	solo bool // it may not come back
	// never says why it works nowhere, with or without a cage.
	never string
}

func openFile(path string, flags int) error {
	fd, err := unix.Open(path, flags, 0o600)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func read(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Read(fd, make([]byte, 16))
	return err
}

func dial(family, kind int, to unix.Sockaddr) error {
	fd, err := unix.Socket(family, kind, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, to); err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte("x"))
	return err
}

func call(number uintptr, a ...uintptr) error {
	var v [6]uintptr
	copy(v[:], a)
	if _, _, errno := syscall.RawSyscall6(number, v[0], v[1], v[2], v[3], v[4], v[5]); errno != 0 {
		return errno
	}
	return nil
}

// child starts a process that ends at once.
func child(flags uintptr) error {
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	if pid == 0 {
		_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	_, err := unix.Wait4(int(pid), nil, 0, nil)
	return err
}

var loopback = [4]byte{127, 0, 0, 1}

// trials are all ways out, in the order of the table.
var trials = []trial{
	{name: "connect to a TCP port of this machine", do: func(t target, _, _ string) error {
		return dial(unix.AF_INET, unix.SOCK_STREAM, &unix.SockaddrInet4{Port: t.TCP, Addr: loopback})
	}},
	{name: "send to a UDP port of this machine", do: func(t target, _, _ string) error {
		return dial(unix.AF_INET, unix.SOCK_DGRAM, &unix.SockaddrInet4{Port: t.UDP, Addr: loopback})
	}},
	{name: "connect to a Unix socket", do: func(t target, _, _ string) error {
		return dial(unix.AF_UNIX, unix.SOCK_STREAM, &unix.SockaddrUnix{Name: t.Unix})
	}},
	{name: "connect to an abstract Unix socket", do: func(t target, _, _ string) error {
		return dial(unix.AF_UNIX, unix.SOCK_STREAM, &unix.SockaddrUnix{Name: t.Abstract})
	}},
	{name: "talk to the kernel by netlink", do: func(target, string, string) error {
		return dial(unix.AF_NETLINK, unix.SOCK_RAW, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}},
	{name: "read the service's keys", do: func(t target, _, _ string) error { return read(t.Keys) }},
	{name: "read the source of another attempt", do: func(t target, _, _ string) error { return read(t.Job) }},
	{name: "read `/etc/shadow`", do: func(target, string, string) error { return read("/etc/shadow") }},
	{name: "read `/etc/passwd`", do: func(target, string, string) error { return read("/etc/passwd") }},
	{name: "list its folder", do: func(t target, _, _ string) error { return openFile(t.Dir, unix.O_RDONLY|unix.O_DIRECTORY) }},
	{name: "write a file elsewhere", do: func(t target, _, _ string) error {
		return openFile(t.Outside+"/new", unix.O_WRONLY|unix.O_CREAT)
	}},
	{name: "make another file in its folder", do: func(t target, _, _ string) error {
		return openFile(t.Dir+"/new", unix.O_WRONLY|unix.O_CREAT)
	}},
	{name: "change its source", do: func(_ target, source, _ string) error { return openFile(source, unix.O_WRONLY) }},
	{name: "remove its source", do: func(t target, _, _ string) error { return unix.Unlink(t.Dir + "/removable") }},
	{name: "read a descriptor that was left open", do: func(t target, _, _ string) error {
		_, err := unix.Pread(t.Descriptor, make([]byte, 16), 0)
		return err
	}},
	{name: "free the attempt's lock", do: func(t target, _, _ string) error { return unix.Flock(t.Lock, unix.LOCK_UN) }},
	{name: "write into the attempt's lock", never: "it is open for reading", do: func(t target, _, _ string) error {
		_, err := unix.Write(t.Lock, []byte("x"))
		return err
	}},
	{name: "find a secret in its environment", never: "there is none", do: func(target, string, string) error {
		if strings.Contains(strings.Join(os.Environ(), " "), canary) {
			return nil
		}
		return unix.ENOENT
	}},
	{name: "read its parent's environment", do: func(t target, _, _ string) error { return read(fmt.Sprintf("/proc/%d/environ", t.Parent)) }},
	{name: "open its parent's memory", do: func(t target, _, _ string) error {
		return openFile(fmt.Sprintf("/proc/%d/mem", t.Parent), unix.O_RDWR)
	}},
	{name: "see its parent's open files", do: func(t target, _, _ string) error {
		_, err := unix.Readlink(fmt.Sprintf("/proc/%d/fd/0", t.Parent), make([]byte, 100))
		return err
	}},
	{name: "copy its parent's memory", do: func(t target, _, _ string) error {
		buffer := make([]byte, 8)
		local := []unix.Iovec{{Base: &buffer[0], Len: 8}}
		_, err := unix.ProcessVMReadv(t.Parent, local, []unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(&loopback)), Len: 4}}, 0) // at the same place if it is the same program
		if err == unix.EFAULT {
			err = nil // it might look
		}
		return err
	}},
	{name: "trace its parent", do: func(t target, _, _ string) error {
		return call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(t.Parent), 0, 0)
	}},
	{name: "take a descriptor from its parent", do: func(t target, _, _ string) error {
		fd, err := unix.PidfdOpen(t.Parent, 0)
		if err == nil {
			_, err = unix.PidfdGetfd(fd, 0, 0)
		}
		return err
	}},
	{name: "signal its parent", do: func(t target, _, _ string) error { return unix.Kill(t.Parent, 0) }},
	{name: "have the kernel signal its parent", do: func(t target, _, _ string) error {
		_, err := unix.FcntlInt(1, unix.F_SETOWN, t.Parent)
		return err
	}},
	{name: "change its parent's limits", do: func(t target, _, _ string) error {
		return unix.Prlimit(t.Parent, unix.RLIMIT_NOFILE, nil, &unix.Rlimit{})
	}},
	{name: "start a process", do: func(target, string, string) error { return child(0) }},
	{name: "run a shell", solo: true, do: func(target, string, string) error {
		return unix.Exec("/bin/sh", []string{"sh", "-c", "echo escaped"}, nil)
	}},
	{name: "run a program that it makes in memory", solo: true, do: func(target, string, string) error {
		fd, err := unix.MemfdCreate("x", 0)
		if err != nil {
			return err
		}
		if _, err := unix.Write(fd, []byte("#!/bin/sh\necho escaped\n")); err != nil {
			return err
		}
		var empty byte
		path, argv := "/proc/self/fd/"+fmt.Sprint(fd), []*byte{&empty, nil}
		p, err := unix.BytePtrFromString(path)
		if err != nil {
			return err
		}
		return call(unix.SYS_EXECVEAT, 0, uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&argv[1])), 0, 0)
	}},
	{name: "be root", do: func(target, string, string) error { return call(unix.SYS_SETRESUID, 0, 0, 0) }},
	{name: "have a capability", do: func(target, string, string) error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var have [2]unix.CapUserData
		if err := unix.Capget(&header, &have[0]); err != nil {
			return err
		}
		if have == ([2]unix.CapUserData{}) {
			return unix.EPERM
		}
		return nil
	}},
	{name: "gain privileges from a program that has some", do: func(target, string, string) error {
		set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
		if set == 1 {
			return unix.EPERM
		}
		return err
	}},
	{name: "mount", do: func(t target, _, _ string) error { return unix.Mount("none", t.Outside+"/sub", "tmpfs", 0, "") }},
	{name: "change its root", do: func(t target, _, _ string) error { return unix.Chroot("/") }},
	{name: "make a user namespace", do: func(target, string, string) error { return child(unix.CLONE_NEWUSER) }},
	{name: "load a BPF program", do: func(target, string, string) error {
		attr := [16]uint32{2, 4, 4, 1} // an array with one element
		return call(unix.SYS_BPF, 0, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	}},
	{name: "use the kernel's keys", do: func(target, string, string) error {
		_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
		return err
	}},
	{name: "use io_uring", do: func(target, string, string) error {
		var params [120]byte
		return call(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)))
	}},
	{name: "watch events of the processor", do: func(target, string, string) error {
		_, err := unix.PerfEventOpen(&unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})), Bits: unix.PerfBitExcludeKernel}, 0, -1, -1, 0)
		return err
	}},
	{name: "share memory with others", do: func(target, string, string) error {
		return call(unix.SYS_SHMGET, 0, 4096, 0o1600) // IPC_PRIVATE, IPC_CREAT
	}},
	{name: "raise a limit", do: func(target, string, string) error {
		var l unix.Rlimit
		if err := unix.Prlimit(0, unix.RLIMIT_CORE, nil, &l); err != nil {
			return err
		}
		if l.Max > 0 { // or it is no limit
			return nil
		}
		return unix.Prlimit(0, unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}, nil)
	}},
	{name: "open 10,000 files", do: func(target, string, string) error {
		var all []int
		defer func() {
			for _, fd := range all {
				unix.Close(fd)
			}
		}()
		for range 10000 {
			fd, err := unix.Dup(0)
			if err != nil {
				return err
			}
			all = append(all, fd)
		}
		return nil
	}},
	{name: "take 2 GiB of memory", do: func(target, string, string) error {
		b, err := unix.Mmap(-1, 0, 2<<30, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
		if err == nil {
			err = unix.Munmap(b)
		}
		return err
	}},
	{name: "write more than the MP3 may have", do: func(t target, _, output string) error {
		signal.Ignore(syscall.SIGXFSZ)
		fd, err := unix.Open(output, unix.O_WRONLY, 0)
		if err == nil {
			_, err = unix.Pwrite(fd, []byte("x"), t.Output)
			unix.Close(fd)
		}
		return err
	}},
	{name: "start 1,000 threads", solo: true, do: func(target, string, string) error {
		started := make(chan bool)
		for range 1000 {
			go func() {
				runtime.LockOSThread()
				started <- true
				_, _ = unix.Ppoll(nil, nil, nil) // and no timer of Go's, which needs other system calls
			}()
			<-started
		}
		return nil
	}},
}

const canary = "canary-of-the-parent"

// escape makes the trials in ffmpeg's place, and prints a line for each.
func escape(args []string) {
	var t target
	if err := json.Unmarshal([]byte(args[slices.Index(args, escapeArg)+1]), &t); err != nil {
		panic(err)
	}
	source := strings.TrimPrefix(args[slices.Index(args, "-i")+1], filePrefix)
	output := strings.TrimPrefix(args[len(args)-1], filePrefix)
	for _, way := range trials {
		if way.solo != (t.Alone != "") || way.solo && way.name != t.Alone {
			continue
		}
		word := "escaped"
		if err := way.do(t, source, output); err != nil {
			word = strings.ReplaceAll(err.Error(), " ", "_")
		}
		_, _ = unix.Write(1, []byte(way.name+"\t"+word+"\n"))
	}
	os.Exit(0)
}

const escapeArg = "tonearm-escape"
