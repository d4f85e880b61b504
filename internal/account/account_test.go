package account

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestNormalizeEmail(t *testing.T) {
	for in, want := range map[string]string{
		"a@example.org":           "a@example.org",
		" A.B+c@Example.ORG\t":    "a.b+c@example.org",
		"o'neil@example.org":      "o'neil@example.org",
		"ÉMILE@exämple.org":       "émile@exämple.org",
		"root@localhost":          "root@localhost",
		"a@[192.0.2.1]":           "a@[192.0.2.1]",
		"":                        "",
		"a":                       "",
		"@example.org":            "",
		"a@":                      "",
		"a@b@c":                   "",
		"a b@example.org":         "",
		`"a b"@example.org`:       "",
		"A <a@example.org>":       "",
		"a@example.org (comment)": "",
		"a@example.org,b@c.org":   "",
		"../a@example.org":        "",
		"a/b@example.org":         "", // would be a folder of somebody else's inbox
		"a@example.org\r\nBcc: b": "",
		"a\u200b@example.org":     "", // zero-width space
		"\u202ea@example.org":     "", // right-to-left override
		"a\u00a0b@example.org":    "",
		"a\xff@example.org":       "",
		strings.Repeat("a", 243) + "@example.org": "",
	} {
		got, err := NormalizeEmail(in)
		if got != want || (want == "") != errors.Is(err, ErrInvalid) {
			t.Errorf("%q: got %q, %v; want %q", in, got, err, want)
		}
	}
}

func FuzzNormalizeEmail(f *testing.F) {
	f.Add("A@example.org")
	f.Add("İ@example.org")
	f.Fuzz(func(t *testing.T, in string) {
		once, err := NormalizeEmail(in)
		if err != nil {
			return
		}
		if twice, err := NormalizeEmail(once); err != nil || twice != once {
			t.Errorf("%q became %q, and that became %q, %v", in, once, twice, err)
		}
		if strings.ContainsAny(once, "/\r\n\x00 <>") {
			t.Errorf("%q became %q", in, once)
		}
	})
}

func TestCheckPassword(t *testing.T) {
	for n, ok := range map[int]bool{0: false, 7: false, 9: true, 1024: true, 1025: false} {
		if err := CheckPassword(strings.Repeat("x", n)); (err == nil) != ok || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestCommonPasswords(t *testing.T) {
	for password, ok := range map[string]bool{
		"password": false, "PassWord": false, "12345678": false, "qwertyuiop": false,
		"correct horse": true, "password is a word": true, "ééééé": true,
	} {
		if err := CheckPassword(password); (err == nil) != ok {
			t.Errorf("%q: %v", password, err)
		}
	}
	if n := len(commonList()); n != 10_000 || !slices.IsSorted(commonList()) {
		t.Errorf("%d common passwords, sorted: %t", n, slices.IsSorted(commonList()))
	}
}
