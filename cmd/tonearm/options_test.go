package main

import (
	"strings"
	"testing"

	"tonearm/cmd/internal/env/envtest"
	"tonearm/internal/conversion"
)

// TestEveryOptionHasAFlag, with the table's words and somewhere in the help.
func TestEveryOptionHasAFlag(t *testing.T) {
	cmd, _, err := newRootCommand(func() {}).Find([]string{"convert"})
	if err != nil {
		t.Fatal(err)
	}
	var help strings.Builder
	cmd.SetOut(&help)
	cmd.SetErr(&help)
	if err := cmd.Usage(); err != nil {
		t.Fatal(err)
	}
	for _, f := range conversion.Fields {
		if f.Type == conversion.TypeObject {
			continue
		}
		flag := cmd.Flags().Lookup(f.Flag)
		if flag == nil {
			t.Errorf("%s has no flag", f.Path)
			continue
		}
		if !strings.Contains(help.String(), "--"+f.Flag+" "+f.Operand) {
			t.Errorf("the help leaves out --%s", f.Flag)
		}
		if !strings.Contains(flag.Usage, strings.ReplaceAll(f.Text, "`", "")) || !strings.Contains(flag.Usage, "default") {
			t.Errorf("--%s is described as %q", f.Flag, flag.Usage)
		}
		if _, ok := cmd.GetFlagCompletionFunc(f.Flag); !ok {
			t.Errorf("--%s completes file names", f.Flag)
		}
	}
}

func TestFlagsAreKnown(t *testing.T) { envtest.Known(t, newRootCommand(func() {})) }
