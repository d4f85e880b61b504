package launchtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"tonearm/internal/launch"
)

// ProgramArg is the argument with which a launcher under test runs the attempt's
// program; a grandchild gets it too.
const ProgramArg = "launchtest-program"

// Report is what a process of an attempt says about itself when it arrives.
type Report struct {
	Role         Role     `json:"role"`
	ConversionID string   `json:"conversion_id"`
	Token        string   `json:"token"`
	Args         []string `json:"args"`
	EnvNames     []string `json:"env_names"`
	PID          int      `json:"pid"`
	WorkDir      string   `json:"work_dir"`
	WorkMode     uint32   `json:"work_mode"`  // permission bits of the work directory
	WorkFiles    []string `json:"work_files"` // what the directory held
}

// Role tells the processes of an attempt apart.
type Role string

// The roles.
const (
	Leader     Role = "leader"
	Grandchild Role = "grandchild" // started by the leader, as ffmpeg is by a transcoder
)

// Command is one thing that a process of an attempt has to do.
type Command struct {
	Do   Action `json:"do"`
	Code int    `json:"code"` // of Exit
	Text string `json:"text"` // of Print and of Write
	Size int    `json:"size"` // of Write, in bytes
}

// Action is what to do.
type Action string

// The actions. Exit, Die and Eat get no answer.
const (
	Exit       Action = "exit"        // with Code
	Die        Action = "die"         // as by a signal from outside
	IgnoreTerm Action = "ignore_term" // ignore SIGTERM from now on
	Spawn      Action = "spawn"       // start a Grandchild, which arrives by itself
	Write      Action = "write"       // a file named Text into the work directory
	Eat        Action = "eat"         // memory, until something ends it
	Print      Action = "print"       // Text to standard output
	Lifeline   Action = "lifeline"    // exit when standard input ends
)

// exitLost is the program's exit code when no more commands can come.
const exitLost = 99

// Program is the attempt's program: it reports to the [Console] that serves
// TONEARM_DISPATCHER_URL and carries out its commands. A test's main function
// runs it when its first argument is ProgramArg. It does not return.
func Program() {
	fmt.Fprintln(os.Stderr, "launchtest:", program())
	os.Exit(exitLost)
}

// program returns the reason why it cannot go on.
func program() error {
	u, err := url.Parse(os.Getenv("TONEARM_DISPATCHER_URL"))
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		return err
	}
	token, err := "", error(nil)
	if len(os.Args) <= 2 { // a grandchild does not have it
		token, err = launch.Token()
	}
	if err != nil {
		return err
	}
	r := Report{
		Role:         Leader,
		ConversionID: os.Getenv("TONEARM_CONVERSION_ID"),
		Token:        token,
		Args:         os.Args,
		PID:          os.Getpid(),
		WorkDir:      os.Getenv("TONEARM_WORK_DIR"),
	}
	if len(os.Args) > 2 {
		r.Role = Role(os.Args[2])
	}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		r.EnvNames = append(r.EnvNames, name)
	}
	if st, err := os.Stat(r.WorkDir); err == nil {
		r.WorkMode = uint32(st.Mode().Perm())
	}
	if err := os.MkdirAll(r.WorkDir, 0o700); err != nil { // as a transcoder does
		return err
	}
	files, err := os.ReadDir(r.WorkDir)
	if err != nil {
		return err
	}
	for _, f := range files {
		r.WorkFiles = append(r.WorkFiles, f.Name())
	}
	out, in := json.NewEncoder(conn), json.NewDecoder(conn)
	if err := out.Encode(r); err != nil {
		return err
	}
	for {
		var c Command
		if err := in.Decode(&c); err != nil {
			return err
		}
		if err := obey(c, r.WorkDir); err != nil {
			return fmt.Errorf("%s: %w", c.Do, err)
		}
		if err := out.Encode(c.Do); err != nil {
			return err
		}
	}
}

func obey(c Command, work string) error {
	switch c.Do {
	case Exit:
		os.Exit(c.Code)
	case Die:
		if os.Getpid() == 1 { // process 1 cannot kill itself; a container's runtime reports a kill with this code
			os.Exit(128 + int(syscall.SIGKILL))
		}
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case IgnoreTerm:
		signal.Ignore(syscall.SIGTERM)
	case Spawn:
		self, err := os.Executable()
		if err != nil {
			return err
		}
		cmd := exec.Command(self, ProgramArg, string(Grandchild))
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		return cmd.Start() // inherits the lock, which is not marked close-on-exec
	case Write:
		return os.WriteFile(filepath.Join(work, c.Text), make([]byte, c.Size), 0o600)
	case Eat:
		for pile := [][]byte{}; ; {
			pile = append(pile, bytes.Repeat([]byte("x"), 1<<20))
		}
	case Print:
		_, err := fmt.Println(c.Text)
		return err
	case Lifeline:
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(exitLost)
		}()
	default:
		return fmt.Errorf("unknown")
	}
	return nil
}
