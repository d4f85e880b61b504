package sqlaccount

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/conversion"
)

// TestTimeOfAddresses registers, and asks for resets of, 1,000 addresses with and
// 1,000 without an account, in turn, and tries to tell them apart by the time
// that takes. The hashes are cheap, so that what the database does shows all the
// more. 50 % is what a coin gets; chance alone keeps a guess within 2.6 % of it.
// It measures, so it runs only where TONEARM_TEST_ENUMERATION is set.
func TestTimeOfAddresses(t *testing.T) {
	if os.Getenv("TONEARM_TEST_ENUMERATION") == "" {
		t.Skip("TONEARM_TEST_ENUMERATION is not set")
	}
	databases(t, func(t *testing.T, fresh func(*testing.T) func() (*Store, error)) {
		s := prepared(t, fresh(t))
		s.hasher.params = cheap
		s.dummy = s.hasher.dummy()
		ctx := t.Context()
		sign := func(account.Proof) (string, error) { return "token", nil }
		const tries = 1000
		for i := range tries {
			for _, name := range []string{"reset", "register"} { // earlier mails to an address cost a statement each
				_, err := s.Create(ctx, fmt.Sprintf("has-%s%d@example.org", name, i), "a password", 0)
				check(t, err)
			}
		}
		// A mail that was sent, as on every server that has run for a while.
		check(t, s.RequestReset(ctx, "has-reset0@example.org", sign))
		due, err := s.DueMails(ctx, time.Now().Add(time.Minute), 1)
		check(t, err)
		_, err = s.UpdateMail(ctx, due[0].ID, func(m *account.Mail) error { m.Notice.State = conversion.NoticeSent; return nil })
		check(t, err)
		for name, ask := range map[string]func(email string) error{
			"reset": func(email string) error { return s.RequestReset(ctx, email, sign) },
			"register": func(email string) error {
				return s.Register(ctx, account.NewUser{Email: email, Password: "a password"}, sign)
			},
		} {
			took := map[string][]time.Duration{}
			for i := range tries {
				for k := range 2 { // neither is always the second one
					who := []string{"has", "not"}[(i+k)%2]
					email := fmt.Sprintf("%s-%s%d@example.org", who, name, i)
					begin := time.Now()
					err := ask(email)
					took[who] = append(took[who], time.Since(begin))
					check(t, err)
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
			t.Logf("%s: median with an account %v, without %v; a guess by time is right in %.1f %%", name, has[tries/2], not[tries/2], 100*float64(above)/tries/tries)
		}
	})
}
