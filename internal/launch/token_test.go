package launch_test

import (
	"os"
	"strconv"
	"syscall"
	"testing"

	"tonearm/internal/launch"
)

// TestToken reads the token from a pipe, and from the variable where there is none.
func TestToken(t *testing.T) {
	t.Setenv(launch.TokenVariable, "1.variable")
	t.Setenv(launch.TokenFileVariable, "")
	if got, err := launch.Token(); got != "1.variable" || err != nil {
		t.Errorf("from the variable: %q, %v", got, err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("1.pipe"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	defer r.Close()
	inherited, err := syscall.Dup(int(r.Fd())) // Token closes it
	if err != nil {
		t.Fatal(err)
	}
	for number, want := range map[string]string{strconv.Itoa(inherited): "1.pipe", "x": "", "1": "", "999999": ""} {
		t.Setenv(launch.TokenFileVariable, number)
		if got, err := launch.Token(); got != want || (err != nil) == (want != "") {
			t.Errorf("from descriptor %s: %q, %v", number, got, err)
		}
	}
}
