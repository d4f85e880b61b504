package command

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

func TestHelp(t *testing.T) {
	cmd := &cobra.Command{Use: "program", Short: "Do something", Example: "  program --listen :80", RunE: func(*cobra.Command, []string) error { return nil }}
	f := cmd.Flags()
	f.String("log-level", "INFO", "`LEVEL` of the log")
	f.String("listen", ":8080", "`ADDRESS` to listen on")
	f.Int64("max-mp3-bytes", 2<<30, "largest MP3 in `BYTES`")
	f.Duration("token-life", time.Hour, "lifetime of access tokens")
	f.Duration("retry-backoff", 90*time.Second, "pause before the second attempt")
	f.String("title", "", "`TEXT` of the title")
	SetHeading(f, "title", "Tags")
	cmd.Annotations = map[string]string{Footer: "Footer:\n  text\n"}
	Setup(cmd)
	var out strings.Builder
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"--help"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	const want = `Do something

Usage:
  program [flags]

Examples:
  program --listen :80

Server:
      --listen ADDRESS   ADDRESS to listen on (default ":8080")

Tokens:
      --token-life duration   lifetime of access tokens (default 1h)

Limits:
      --max-mp3-bytes BYTES   largest MP3 in BYTES (default 2147483648: 2 GiB)

Attempts:
      --retry-backoff duration   pause before the second attempt (default 1m30s)

Logging:
      --log-level LEVEL   LEVEL of the log (default "INFO")

Tags:
      --title TEXT   TEXT of the title

Other:
  -h, --help      help for program
  -v, --version   version for program

Footer:
  text

A duration is a number with its unit, such as 30s, 10m or 24h.

Environment variables set flags, too: TONEARM_LISTEN is --listen. The command line comes first.
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestArguments(t *testing.T) {
	cmd := &cobra.Command{Use: "get ID"}
	for name, tt := range map[string]struct {
		check cobra.PositionalArgs
		args  []string
		want  string // in the error; '' for none
	}{
		"none, none wanted":  {NoArgs, nil, ""},
		"some, none wanted":  {NoArgs, []string{"x"}, `get takes no arguments, but there is "x"`},
		"one of one":         {Needs(1, "one conversion"), []string{"x"}, ""},
		"none of one":        {Needs(1, "one conversion"), nil, "name one conversion: get ID"},
		"two of one":         {Needs(1, "one conversion"), []string{"x", "y"}, `name one conversion only, without "y": get ID`},
		"two of any number":  {Needs(0, "conversions"), []string{"x", "y"}, ""},
		"none of any number": {Needs(0, "conversions"), nil, "name conversions: get ID"},
	} {
		got := ""
		if err := tt.check(cmd, tt.args); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}
