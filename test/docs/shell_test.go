package docs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"tonearm/bench/link"
	"tonearm/internal/waittest"
)

// shell runs blocks one after the other in the same shell, as a reader of the
// documents does.
type shell struct {
	name    string // bash or zsh
	paste   bool   // line by line into a terminal, else as a script
	dir     string // a copy of the repository
	env     []string
	network *link.Namespace
	limit   time.Duration // for one block; for all of a script's
}

// startup files make an interactive shell print the status of each command.
var startup = map[string]struct{ file, content string }{
	"bash": {".bashrc", `PROMPT_COMMAND='printf "\n[status %s]\n" $?' PS1='> ' HISTFILE=` + "\n"},
	"zsh":  {".zshrc", `precmd() { printf "\n[status %s]\n" $? }; PS1='> ' HISTFILE=` + "\n"},
}

var status = regexp.MustCompile(`\[status (\d+)\]`)

// end is what the shell prints after block i. The command that prints it does
// not contain it, since a terminal shows what is typed.
func end(i int) string        { return fmt.Sprintf("end of block %d", i) }
func endCommand(i int) string { return fmt.Sprintf("echo 'end of'' block %d'\n", i) }

// run returns an error that names the first block with a command that failed,
// or that did not print what the document says.
func (s *shell) run(t *testing.T, blocks []Block) error {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(home, 0o750); err != nil {
		return err
	}
	rc := startup[s.name]
	if err := os.WriteFile(filepath.Join(home, rc.file), []byte(rc.content), 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, s.name)
	cmd.Dir, cmd.Env = s.dir, append(slices.Clip(s.env), "HOME="+home, "ZDOTDIR="+home, "TERM=dumb")
	if s.paste {
		return s.runPaste(cmd, blocks)
	}
	return s.runScript(t, cmd, blocks)
}

func (s *shell) runScript(t *testing.T, cmd *exec.Cmd, blocks []Block) error {
	t.Helper()
	script := filepath.Join(t.TempDir(), "script")
	var text strings.Builder
	for i, b := range blocks {
		text.WriteString(b.Code + endCommand(i))
	}
	if err := os.WriteFile(script, []byte(text.String()), 0o600); err != nil {
		return err
	}
	cmd.Args = append(cmd.Args, "-eu", "-o", "pipefail", script)
	var out waittest.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := s.network.Start(cmd); err != nil {
		return err
	}
	timer := time.AfterFunc(s.limit, func() { _ = cmd.Cancel() })
	defer timer.Stop()
	failed := cmd.Wait()
	rest := out.String()
	for i, b := range blocks {
		printed, after, ok := strings.Cut(rest, end(i))
		if !ok {
			return fmt.Errorf("%s: %w\n%s%s", b, failed, b.Code, printed)
		}
		if err := b.printed(printed); err != nil {
			return err
		}
		rest = after
	}
	return failed
}

// printed reports what of Prints is missing in a block's output.
func (b Block) printed(output string) error {
	lines := strings.Split(output, "\n")
	for _, want := range b.Prints {
		parts := strings.Split(want, "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		pattern := regexp.MustCompile("^" + strings.Join(parts, ".*") + `\s*$`)
		for len(lines) > 0 && !pattern.MatchString(lines[0]) {
			lines = lines[1:]
		}
		if len(lines) == 0 {
			return fmt.Errorf("%s: does not print %q where the document says so, but\n%s", b, want, output)
		}
		lines = lines[1:]
	}
	return nil
}

func (s *shell) runPaste(cmd *exec.Cmd, blocks []Block) error {
	terminal, tty, err := pty.Open()
	if err != nil {
		return err
	}
	cmd.Args = append(cmd.Args, "-i")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = s.network.Start(cmd)
	_ = tty.Close()
	if err != nil {
		return errors.Join(err, terminal.Close())
	}
	var out waittest.Buffer
	read := make(chan struct{})
	go func() { defer close(read); _, _ = io.Copy(&out, terminal) }() // until the shell has ended
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		_ = terminal.Close()
		<-read
	}()
	for i, b := range blocks {
		from := len(out.String())
		if _, err := io.WriteString(terminal, b.Code+endCommand(i)); err != nil {
			return fmt.Errorf("%s: %w", b, err)
		}
		var printed string
		for deadline := time.Now().Add(s.limit); ; time.Sleep(5 * time.Millisecond) {
			printed = out.String()[from:]
			if before, _, ok := strings.Cut(printed, end(i)); ok {
				printed = before
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s: no end after %s: a command waits, or has read the lines that follow it\n%s", b, s.limit, printed)
			}
		}
		for _, m := range status.FindAllStringSubmatch(printed, -1) {
			if m[1] != "0" {
				return fmt.Errorf("%s: a command ended with status %s\n%s", b, m[1], printed)
			}
		}
	}
	return nil
}
