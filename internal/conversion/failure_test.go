package conversion

import (
	"strings"
	"testing"
)

// TestAdvice: every failure has advice. What may heal is told how to start
// again, what cannot is not.
func TestAdvice(t *testing.T) {
	for _, code := range Codes {
		c := Conversion{ID: "some-id", Error: &Failure{Code: code}}
		got := c.Advice("https://tonearm.example.org")
		healable := false
		switch code {
		case CodeCrashed, CodeOutOfMemory, CodeDeadlineExceeded, CodeLost, CodeLaunchFailed, CodeStore, CodeInternal:
			healable = true
		}
		for _, retry := range []string{"tonearm retry some-id", "POST https://tonearm.example.org/v1/conversions/some-id/retry"} {
			if strings.Contains(got, retry) != healable {
				t.Errorf("%s: %q has %q, want %t", code, got, retry, healable)
			}
		}
		if !strings.HasSuffix(got, ".") {
			t.Errorf("%s: advice is %q, want sentences", code, got)
		}
	}
	if got, want := (Conversion{ID: "x"}).Advice(""), "POST /v1/conversions/x/retry"; !strings.Contains(got, want) {
		t.Errorf("without an error: got %q, want %q in it", got, want)
	}
}

func TestSize(t *testing.T) {
	for bytes, want := range map[int64]string{0: "0.0 kB", 1234: "1.2 kB", 4_200_000: "4.2 MB", 1_500_000_000: "1.5 GB"} {
		if got := Size(bytes); got != want {
			t.Errorf("%d bytes: %s, want %s", bytes, got, want)
		}
	}
}
