package gateway

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"tonearm/internal/api"
)

// TestEnumerationByTime asks 1,000 times each for a reset of addresses with and
// without an account, in turn, and tries to tell them apart by the time of the
// answer. It prints the medians and how often a guess by time is right: 50 % is
// what a coin gets. It measures, so it runs only where
// TONEARM_TEST_ENUMERATION is set.
func TestEnumerationByTime(t *testing.T) {
	if os.Getenv("TONEARM_TEST_ENUMERATION") == "" {
		t.Skip("TONEARM_TEST_ENUMERATION is not set")
	}
	s := start(t)
	const tries = 1000
	for i := range tries {
		if i%4 == 0 { // so that few of them meet the limit of mails
			s.user(fmt.Sprintf("has%d@example.org", i/4))
		}
	}
	var has, not []time.Duration
	for i := range tries {
		for _, name := range []string{"has", "not"} {
			s.forget()
			body := api.EmailOnly{Email: fmt.Sprintf("%s%d@example.org", name, i/4)}
			begin := time.Now()
			s.send("POST", "/v1/users/reset", body).want(202)
			took := time.Since(begin)
			if name == "has" {
				has = append(has, took)
			} else {
				not = append(not, took)
			}
		}
	}
	slices.Sort(has)
	slices.Sort(not)
	above := 0 // pairs in which the address with an account took longer
	for _, h := range has {
		n, _ := slices.BinarySearch(not, h)
		above += n
	}
	t.Logf("median with an account %v, without %v; a guess by time is right in %.1f %%", has[tries/2], not[tries/2], 100*float64(above)/tries/tries)
}
