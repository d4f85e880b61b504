package cage

import (
	"debug/elf"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rights "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// TestNeeds: a static program sees nothing but itself, one with libraries sees those,
// and CUDA its devices.
func TestNeeds(t *testing.T) {
	static := filepath.Join(t.TempDir(), "static")
	if err := os.WriteFile(static, tinyProgram(), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	devices, folders := gpuDevices, gpuFolders
	t.Cleanup(func() { gpuDevices, gpuFolders = devices, folders })
	card := filepath.Join(t.TempDir(), "nvidia0")
	if err := os.WriteFile(card, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	gpuDevices = []string{filepath.Join(filepath.Dir(card), "nvidia*")}
	of := func(path string, gpu bool) []string {
		p, err := inspect(path)
		if err != nil {
			t.Fatal(err)
		}
		o := order{Cage: Cage{GPU: gpu}, Program: p, Path: path}
		needs := o.needs()
		if gpu && uint64(needs[card])&rights.AccessFSIoctlDev == 0 {
			t.Errorf("the GPU's device gets %v", needs[card])
		}
		for path, r := range needs {
			if uint64(r)&(rights.AccessFSMakeReg|rights.AccessFSRemoveFile) != 0 {
				t.Errorf("%s gets %v", path, r)
			}
		}
		return slices.DeleteFunc(slices.Sorted(maps.Keys(needs)), func(p string) bool { return slices.Contains(harmless, p) })
	}
	if got := of(static, false); !slices.Equal(got, []string{static}) {
		t.Errorf("a static program needs %v", got)
	}
	shell := of("/bin/sh", false)
	for _, want := range []string{"/bin/sh", "/usr"} {
		if !slices.Contains(shell, want) {
			t.Errorf("a program with libraries needs %v, without %s", shell, want)
		}
	}
	for _, path := range []string{"/etc", "/home", "/root", "/var", "/proc", "/tmp", "/"} {
		if slices.Contains(shell, path) {
			t.Errorf("a program with libraries sees %s", path)
		}
	}
	if got := of("/bin/sh", true); !slices.Contains(got, card) || !slices.Contains(got, "/proc") {
		t.Errorf("with CUDA it needs %v", got)
	}
}

// tinyProgram is a static program of 64 bits without a section.
func tinyProgram() []byte {
	b := make([]byte, 64+56)
	copy(b, elf.ELFMAG+string([]byte{byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}))
	b[16], b[18], b[20] = byte(elf.ET_EXEC), byte(elf.EM_X86_64), byte(elf.EV_CURRENT)
	b[32], b[52], b[54], b[56] = 64, 64, 56, 1 // program headers: where, and their size and number
	b[64] = byte(elf.PT_LOAD)
	return b
}

// TestOwnLibraries: a program that says itself where its libraries are sees the ones
// that its loader finds.
func TestOwnLibraries(t *testing.T) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc")
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	library, program := filepath.Join(dir, "libown.so"), filepath.Join(dir, "program")
	for _, args := range [][]string{
		{"-shared", "-o", library, write("own.c", "int own(void) { return 7; }")},
		{"-o", program, write("main.c", "int own(void); int main(void) { return own(); }"), library, "-Wl,-rpath," + dir},
	} {
		if out, err := exec.CommandContext(t.Context(), gcc, args...).CombinedOutput(); err != nil {
			t.Fatalf("gcc %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	p, err := inspect(program)
	if err != nil || !slices.Contains(p.Libraries, library) {
		t.Fatalf("libraries %v, %v; want %s", p.Libraries, err, library)
	}
	if os.Geteuid() == 0 && !p.Private { // t.TempDir is for its owner alone
		t.Error("another user is expected to open it")
	}
	cmd, err := Cage{CPU: 1e9, File: 1}.Command(t.Context(), nil, program)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("it ended with %v", err)
	}
}
