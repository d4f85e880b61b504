package abuse

import (
	"fmt"
	"os"
	"testing"

	"tonearm/test/undo"
)

// TestUndone takes out each defense once. The tests that try the attack are green
// with it, and red without.
func TestUndone(t *testing.T) {
	list := undo.Read(t, "testdata/undo.txt", "../..")
	if os.Getenv("TONEARM_TEST_ABUSE") == "" { // whether they still fit is known at once
		list.Apply(t)
		return
	}
	held := 0
	for _, e := range list.Entries {
		if t.Run(e.About, func(t *testing.T) { list.Run(t, e) }) {
			held++
		}
	}
	fmt.Printf("%d defenses taken out, %d noticed\n", len(list.Entries), held)
}
