package account

import (
	"net/mail"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// NormalizeEmail returns an address as a new account has it: trimmed, in lower
// case, in Unicode's form NFC, with the domain as DNS knows it (RFC 5891:
// xn--exmple-cua.org for exämple.org), so that every mail server can deliver to
// it. ErrInvalid for
//
//   - what mail forbids,
//   - slashes, which would end the address in an object's key,
//   - invisible characters,
//   - the number of a machine in place of a domain, as in a@[127.0.0.1],
//   - domains that IDNA does not allow, or that look like others; see scripts.go.
//
// Accounts of earlier versions may have other addresses: see Spellings.
func NormalizeEmail(s string) (string, error) {
	s, ok := earlierForm(s)
	if !ok {
		return "", notAnAddress
	}
	local, domain := split(norm.NFC.String(s))
	ascii, err := domains.ToASCII(domain)
	if err != nil || literal(ascii) {
		return "", notAnAddress
	}
	shown, err := domains.ToUnicode(ascii)
	if err != nil {
		return "", notAnAddress
	}
	if lookAlike(shown) {
		return "", invalid("the domain of this address mixes alphabets, or looks like another one; write it like name@example.org")
	}
	out, ok := earlierForm(local + "@" + ascii)
	if !ok || strings.ContainsFunc(local, invisible) {
		return "", notAnAddress
	}
	return out, nil
}

const notAnAddress = invalidError("this is not an e-mail address that Tonearm can use; write it like name@example.org")

// domains is IDNA as browsers do it (UTS 46, not transitional), with the rules of
// DNS about lengths and characters.
var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.VerifyDNSLength(true))

// Spellings returns the addresses under which an account for s may be stored. The
// first is how versions before 0.2 would have stored s; then come the normal form,
// and the ones that these versions would have stored for other ways to write it.
// There are always as many, so that a search costs the same for each address.
// ErrInvalid if there can be no such account.
func Spellings(s string) (spellings [4]string, err error) {
	as, ok := earlierForm(s)
	if !ok {
		return spellings, notAnAddress
	}
	spellings = [4]string{as, as, as, as}
	normal, err := NormalizeEmail(s)
	if err != nil {
		return spellings, nil //nolint:nilerr // only earlier versions took such an address
	}
	local, domain := split(normal)
	if shown, err := domains.ToUnicode(domain); err == nil {
		domain = shown
	}
	spellings[1] = normal
	spellings[2] = local + "@" + domain
	spellings[3] = norm.NFD.String(spellings[2])
	return spellings, nil
}

// EmailName returns the same for all ways to write an address, whether or not an
// account can have it.
func EmailName(s string) string {
	if name, err := NormalizeEmail(s); err == nil {
		return name
	}
	if name, ok := earlierForm(s); ok {
		return name
	}
	return s
}

// earlierForm is what NormalizeEmail did before 0.2.
func earlierForm(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if len(s) > 3*MaxEmailLength { // no letter shrinks more in lower case; the rest is not worth the work
		return "", false
	}
	valid := utf8.ValidString(s)
	s = strings.ToLower(s)
	a, err := mail.ParseAddress(s)
	if !valid || err != nil || a.Address != s || len(s) > MaxEmailLength || strings.ContainsFunc(s, unseen) || strings.Contains(s, "/") {
		return "", false
	}
	return s, true
}

func unseen(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }

// invisible reports characters that count as letters or marks but have no picture,
// such as the Hangul filler.
func invisible(r rune) bool {
	return unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// split cuts an address at its last @.
func split(s string) (local, domain string) {
	i := strings.LastIndexByte(s, '@')
	return s[:max(i, 0)], s[i+1:]
}

// literal reports whether a domain is the number of a machine. Programs also take
// numbers such as 0x7f.1 and 2130706433 for one (WHATWG URL, "ends in a number").
func literal(domain string) bool {
	if _, err := netip.ParseAddr(domain); err == nil {
		return true
	}
	last := domain[strings.LastIndexByte(domain, '.')+1:]
	hex, isHex := strings.CutPrefix(last, "0x")
	if isHex {
		_, err := strconv.ParseUint(hex, 16, 64)
		return hex == "" || err == nil
	}
	return strings.Trim(last, "0123456789") == ""
}
