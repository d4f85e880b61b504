package account

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
)

func TestNormalizeEmail(t *testing.T) {
	for in, want := range map[string]string{
		"a@example.org":           "a@example.org",
		" A.B+c@Example.ORG\t":    "a.b+c@example.org",
		"o'neil@example.org":      "o'neil@example.org",
		"root@localhost":          "root@localhost",
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
		"a\x1b[2J@example.org":    "",
		"a\u200b@example.org":     "", // zero-width space
		"a@exam\u200bple.org":     "",
		"a@exam\u00adple.org":     "", // soft hyphen
		"\u202ea@example.org":     "", // right-to-left override
		"a@example.org\u2066":     "",
		"a\u3164@example.org":     "", // Hangul filler: a letter without a picture
		"a\ufe0f@example.org":     "", // variation selector
		"a\u00a0b@example.org":    "",
		"a\xff@example.org":       "",
		strings.Repeat("a", 243) + "@example.org": "",
		"a@" + strings.Repeat("b", 64) + ".org":   "",
		"a@example.org.":                          "",
		"a@-example.org":                          "",
		"a@exa_mple.org":                          "",

		// NFC and IDNA: one account for all ways to write an address.
		"ÉMILE@exämple.org":                  "émile@xn--exmple-cua.org",
		norm.NFD.String("émile@exämple.org"): "émile@xn--exmple-cua.org",
		"a@EXÄMPLE.org":                      "a@xn--exmple-cua.org",
		"a@XN--exmple-cua.ORG":               "a@xn--exmple-cua.org",
		"a@ｅｘａｍｐｌｅ。ｏｒｇ":                      "a@example.org",
		"a@straße.de":                        "a@xn--strae-oqa.de",
		"用户@例子.广告":                           "用户@xn--fsqu00a.xn--4rr70v",
		"a@xn--a.org":                        "", // not an encoding of anything
		"a@xn--example-.org":                 "",

		// No machine's number in place of a domain.
		"a@[192.0.2.1]": "", "a@[IPv6:::1]": "", "a@127.0.0.1": "", "a@2130706433": "", "a@0x7f.1": "", "a@127.0x1": "", "a@example.0x": "", "a@１２７.0.0.1": "",
		"a@163.com": "a@163.com", "a@1.example.org": "a@1.example.org", "a@0xff.org": "a@0xff.org",

		// No look-alikes.
		"a@exаmple.org":        "", // Cyrillic а
		"a@xn--exmple-4nf.org": "", // the same
		"a@gοοgle.com":         "", // Greek ο
		"a@сосо.com":           "", // all Cyrillic, all with a Latin twin
		"a@mail.сосо.com":      "",
		"a@аррӏе-1.com":        "",
		"a@ααα.com":            "",
		"a@ᏢᎪᏙ.com":            "",
		"a@exɑmple.org":        "", // the Latin alpha
		"a@сосо.рф":            "a@xn--n1aahb.xn--p1ai",
		"a@почта.com":          "a@xn--80a1acny.com",
		"a@президент.рф":       "a@xn--d1abbgf6aiiy.xn--p1ai",
		"a@日本語abc.jp":          "a@xn--abc-s08fl0dtz6h.jp",
		"a@ドメイン.日本":            "a@xn--eckwd4c7c.xn--wgv71a",
		"a@한국.kr":              "a@xn--3e0b707e.kr",
		"a@موقع.وزارة":         "a@xn--4gbrim.xn--mgbexc3i",
		"a@münchen-2026.de":    "a@xn--mnchen-2026-thb.de",
		"a@examp1e.org":        "a@examp1e.org",
	} {
		got, err := NormalizeEmail(in)
		if got != want || (want == "") != errors.Is(err, ErrInvalid) {
			t.Errorf("%q: got %q, %v; want %q", in, got, err, want)
		}
	}
}

// TestSpellings: what an earlier version stored for any way to write an address is
// searched for.
func TestSpellings(t *testing.T) {
	nfc, nfd := "émile@exämple.org", norm.NFD.String("émile@exämple.org")
	for in, want := range map[string][]string{
		"A@Example.org":            {"a@example.org"},
		" a@[192.0.2.1]":           {"a@[192.0.2.1]"}, // no new account has it
		"a@exаmple.org":            {"a@exаmple.org"},
		nfc:                        {nfc, nfd, "émile@xn--exmple-cua.org"},
		strings.ToUpper(nfd):       {nfc, nfd, "émile@xn--exmple-cua.org"},
		"émile@xn--exmple-cua.org": {nfc, nfd, "émile@xn--exmple-cua.org"},
	} {
		got, err := Spellings(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
		}
		for _, w := range want {
			if !slices.Contains(got[:], w) {
				t.Errorf("%q: %q has no %q", in, got, w)
			}
		}
		for _, g := range got {
			if !slices.Contains(want, g) {
				t.Errorf("%q: %q is too much", in, g)
			}
			if EmailName(g) != EmailName(in) {
				t.Errorf("%q and %q have the names %q and %q", g, in, EmailName(g), EmailName(in))
			}
		}
		if first := strings.ToLower(strings.TrimSpace(in)); got[0] != first {
			t.Errorf("%q: the first is %q", in, got[0])
		}
	}
	if _, err := Spellings("a b@c"); !errors.Is(err, ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if got := EmailName("a b@c"); got != "a b@c" {
		t.Errorf("got %q", got)
	}
}

func FuzzNormalizeEmail(f *testing.F) {
	for _, in := range []string{"A@example.org", "İ@example.org", "a@exämple.org", "a@[127.0.0.1]", "a@xn--exmple-cua.org", "ẞ@ẞ.de", "a@ｅ。ｏｒｇ", "a@한국.kr"} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		once, err := NormalizeEmail(in)
		if err != nil {
			return
		}
		if twice, err := NormalizeEmail(once); err != nil || twice != once {
			t.Errorf("%q became %q, and that became %q, %v", in, once, twice, err)
		}
		if strings.ContainsAny(once, "/\r\n\x00 <>[]\x1b\u202e") {
			t.Errorf("%q became %q", in, once)
		}
		spellings, err := Spellings(in)
		if err != nil || !slices.Contains(spellings[:], once) {
			t.Errorf("%q: %q, %v", in, spellings, err)
		}
		for _, s := range spellings {
			if name := EmailName(s); name != once {
				t.Errorf("%q: %q has the name %q, want %q", in, s, name, once)
			}
		}
	})
}
