package gateway

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

// TestEnumerationByTime asks 1,000 times each for something about addresses with
// and without an account, in turn, and tries to tell them apart by the time of
// the answer. It prints the medians and how often a guess by time is right: 50 %
// is what a coin gets, and of 1,000 tries each, chance alone keeps it within
// 1.3 %. It measures, so it runs only where TONEARM_TEST_ENUMERATION is set.
func TestEnumerationByTime(t *testing.T) {
	if os.Getenv("TONEARM_TEST_ENUMERATION") == "" {
		t.Skip("TONEARM_TEST_ENUMERATION is not set")
	}
	for name, tt := range map[string]struct {
		path   string
		body   func(email string) any
		status int
		once   bool // an address can be asked about once
	}{
		"reset":    {"/v1/users/reset", func(email string) any { return api.EmailOnly{Email: email} }, 202, false},
		"register": {"/v1/users", func(email string) any { return api.NewUser{Email: email, Password: password} }, 202, true},
		"login":    {"/v1/session", func(email string) any { return api.Credentials{Email: email, Password: "wrong horse"} }, 401, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			const tries = 1000
			each := 4 // tries of an address, so that few of them meet the limit of mails
			if tt.once {
				each = 1
			}
			for i := range tries / each {
				s.user(fmt.Sprintf("has%d@example.org", i))
			}
			s.sent(t)
			took := map[string][]time.Duration{}
			for i := range tries {
				for k := range 2 {
					name := []string{"has", "not"}[(i+k)%2] // neither is always the second one
					s.forget()
					body := tt.body(fmt.Sprintf("%s%d@example.org", name, i/each))
					begin := time.Now()
					s.send("POST", tt.path, body).want(tt.status)
					took[name] = append(took[name], time.Since(begin))
				}
			}
			has, not := took["has"], took["not"]
			slices.Sort(has)
			slices.Sort(not)
			above := 0 // pairs in which the address with an account took longer
			for _, h := range has {
				n, _ := slices.BinarySearch(not, h)
				above += n
			}
			t.Logf("median with an account %v, without %v; a guess by time is right in %.1f %%", has[tries/2], not[tries/2], 100*float64(above)/tries/tries)
		})
	}
}

// sent leaves a mail that was sent, as on every server that has run for a while.
func (s *stack) sent(t *testing.T) {
	t.Helper()
	s.user("sent@example.org")
	s.send("POST", "/v1/users/reset", api.EmailOnly{Email: "sent@example.org"}).want(202)
	_, err := s.o.Users.UpdateMail(t.Context(), s.mail("sent@example.org", account.MailReset).ID, func(m *account.Mail) error {
		m.Notice.State = conversion.NoticeSent
		return nil
	})
	check(t, err)
}
