package jwttoken

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"tonearm/internal/account"
)

// FuzzVerify: of all texts only those that were signed are good, each for one thing.
func FuzzVerify(f *testing.F) {
	key, err := newKey(ed25519.NewKeyFromSeed(make([]byte, 32)))
	if err != nil {
		f.Fatal(err)
	}
	now := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC) // the same in each process that looks for inputs
	tokens, err := New(Options{Keys: []Key{key}, Issuer: "http://localhost", Now: func() time.Time { return now }})
	if err != nil {
		f.Fatal(err)
	}
	access, _, err := tokens.Access(account.User{ID: "u"}, now)
	if err != nil {
		f.Fatal(err)
	}
	download, _, err := tokens.Download("m")
	if err != nil {
		f.Fatal(err)
	}
	parts := strings.Split(access, ".")
	for _, token := range []string{
		access, download, "", "..", access + ".", access + "=", access + "\n", " " + access, "Bearer " + access, parts[0] + "." + parts[1] + ".",
		"eyJhbGciOiJub25lIn0." + parts[1] + ".", strings.Split(download, ".")[0] + "." + parts[1] + "." + parts[2],
	} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := tokens.VerifyAccess(token); (err == nil) != (token == access) {
			t.Errorf("access by %q: %v", token, err)
		}
		if _, err := tokens.VerifyDownload(token); (err == nil) != (token == download) {
			t.Errorf("download by %q: %v", token, err)
		}
		for _, kind := range account.ProofKinds {
			if _, err := tokens.VerifyProof(kind, token); err == nil {
				t.Errorf("%s by %q", kind, token)
			}
		}
		if _, _, err := tokens.VerifyUnsubscribe(token); err == nil {
			t.Errorf("unsubscribe by %q", token)
		}
	})
}
