package attempt

import (
	"strings"
	"testing"
)

// FuzzVerify: a token is good if it is the very text that was given out, for this
// conversion.
func FuzzVerify(f *testing.F) {
	key := Key(strings.Repeat("k", 32))
	good := key.Token("c", 1)
	for _, token := range []string{good, "", ".", "1.", good + "=", good + "\n", "01" + good[1:], "+" + good, " " + good, strings.ToUpper(good), key.Token("d", 1), key.Token("c", -1)} {
		f.Add("c", token)
	}
	f.Fuzz(func(t *testing.T, id, token string) {
		n, err := key.Verify(id, token)
		if err == nil && token != key.Token(id, n) || err != nil && id == "c" && token == good {
			t.Errorf("%q for %q: attempt %d, %v", token, id, n, err)
		}
	})
}
