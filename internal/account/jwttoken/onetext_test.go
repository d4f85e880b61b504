package jwttoken

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tonearm/internal/account"
)

// TestOneText: a token has one spelling and one meaning, and its claims are of the
// types that they have.
func TestOneText(t *testing.T) {
	own := draw(t)
	s := tokens(t, Options{Keys: []Key{own}})
	now := time.Now().Unix()
	good := map[string]any{"iss": issuer, "aud": "tonearm", "sub": "the-id", "typ": "access", "iat": now, "nbf": now, "exp": now + 60}
	head := map[string]any{"kid": own.id, "typ": "access"}
	signed := func(claims map[string]any) string {
		return forge(t, jwt.SigningMethodEdDSA, own.private, head, claims)
	}
	whole := signed(good)
	parts := strings.Split(whole, ".")
	if _, err := s.VerifyAccess(resigned(t, own, parts[0], payload(t, parts[1]))); err != nil {
		t.Fatalf("the pattern of payloads is refused: %v", err)
	}
	for name, claims := range map[string]map[string]any{"one audience": with(good, "aud", "tonearm"), "two": with(good, "aud", []string{"tonearm", "x"}), "a claim to come": with(good, "new", map[string]any{"a": 1.5})} {
		if _, err := s.VerifyAccess(signed(claims)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, token := range map[string]string{
		"crit":               forge(t, jwt.SigningMethodEdDSA, own.private, with(head, "crit", []string{"exp"}), good),
		"crit, empty":        forge(t, jwt.SigningMethodEdDSA, own.private, with(head, "crit", []string{}), good),
		"crit of b64":        forge(t, jwt.SigningMethodEdDSA, own.private, with(head, "crit", []string{"b64"}, "b64", false), good),
		"subject a number":   signed(with(good, "sub", 7)),
		"subject a list":     signed(with(good, "sub", []string{"the-id"})),
		"issuer a list":      signed(with(good, "iss", []string{issuer})),
		"audience an object": signed(with(good, "aud", map[string]any{"tonearm": true})),
		"audience, numbers":  signed(with(good, "aud", []any{"tonearm", 7})),
		"typ a list":         signed(with(good, "typ", []string{"access"})),
		"expiry a string":    signed(with(good, "exp", fmt.Sprint(now+60))),
		"expiry a fraction":  signed(with(good, "exp", float64(now)+60.5)),
		"expiry far away":    signed(with(good, "exp", json.RawMessage("1e300"))),
		"expiry true":        signed(with(good, "exp", true)),
		"expiry null":        signed(with(good, "exp", json.RawMessage("null"))),
		"nbf a string":       signed(with(good, "nbf", fmt.Sprint(now))),
		"iat a string":       signed(with(good, "iat", fmt.Sprint(now))),
		"auth_time a string": signed(with(good, "auth_time", fmt.Sprint(now))),
		"generation a text":  signed(with(good, "gen", "0")),
		"generation below 0": signed(with(good, "gen", -1)),
		"generation of more": signed(with(good, "gen", 0.5)),
		"a claim's twin":     signed(with(good, "EXP", now+600)),
		"another case":       signed(with(good, "exp", nil, "EXP", now+60)),
		"a claim twice":      resigned(t, own, parts[0], strings.Replace(payload(t, parts[1]), `{`, `{"sub":"the-id",`, 1)),
		"spare bits":         whole[:len(whole)-1] + spare(whole[len(whole)-1]),
		"line break":         parts[0] + "." + parts[1] + "." + parts[2][:40] + "\n" + parts[2][40:],
		"line break behind":  whole + "\r\n",
		"padding":            whole + "==",
		"space":              " " + whole,
		"other alphabet":     strings.NewReplacer("-", "+", "_", "/").Replace(whole) + "=",
	} {
		if got, err := s.VerifyAccess(token); !errors.Is(err, account.ErrToken) || got != (account.Session{}) {
			t.Errorf("%s: got %+v, %v; want ErrToken", name, got, err)
		}
	}
}

// payload is what the second part of a token holds.
func payload(t *testing.T, part string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// resigned signs a payload that no map can hold.
func resigned(t *testing.T, k Key, header, payload string) string {
	t.Helper()
	text := header + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(k.private, []byte(text)))
}

// spare is another last letter of base64 for 64 bytes, of which the last four bits
// stand for nothing.
func spare(last byte) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(letters[strings.IndexByte(letters, last)|1])
}
