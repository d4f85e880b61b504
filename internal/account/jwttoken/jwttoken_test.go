package jwttoken

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tonearm/internal/account"
)

const issuer = "https://tonearm.example.org"

func draw(t *testing.T) Key {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := newKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func tokens(t *testing.T, o Options) *Tokens {
	t.Helper()
	if o.Issuer == "" {
		o.Issuer = issuer
	}
	tokens, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func TestTokens(t *testing.T) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 999, time.UTC)
	s := tokens(t, Options{Keys: []Key{draw(t)}, Now: func() time.Time { return now }})
	start := now
	verifyAccess := func(token string) (string, error) { session, err := s.VerifyAccess(token); return session.UserID, err }
	for _, kind := range []struct {
		name          string
		sign          func() (string, time.Time, error)
		verify, other func(string) (string, error)
		life          time.Duration
	}{
		{"access", func() (string, time.Time, error) { return s.Access(account.User{ID: "the-id"}, now) }, verifyAccess, s.VerifyDownload, 12 * time.Hour},
		{"download", func() (string, time.Time, error) { return s.Download("the-id") }, s.VerifyDownload, verifyAccess, 7 * 24 * time.Hour},
	} {
		t.Run(kind.name, func(t *testing.T) {
			now = start
			token, expires, err := kind.sign()
			if err != nil {
				t.Fatal(err)
			}
			if want := start.Truncate(time.Second).Add(kind.life); !expires.Equal(want) {
				t.Errorf("expires at %v, want %v", expires, want)
			}
			check := func(when string, verify func(string) (string, error), ok bool) {
				t.Helper()
				switch id, err := verify(token); {
				case ok && (err != nil || id != "the-id"):
					t.Errorf("%s: %q, %v", when, id, err)
				case !ok && (!errors.Is(err, account.ErrToken) || id != ""):
					t.Errorf("%s: %q, %v; want ErrToken", when, id, err)
				}
			}
			check("at once", kind.verify, true)
			check("as the other type", kind.other, false)
			now = start.Add(-5 * time.Second)
			check("by a clock that is slow", kind.verify, true)
			now = start.Add(-time.Minute)
			check("before its time", kind.verify, false)
			now = expires.Add(-time.Second)
			check("just before its end", kind.verify, true)
			now = expires.Add(time.Minute)
			check("after its end", kind.verify, false)
		})
	}
	if _, _, err := s.Access(account.User{}, now); err == nil {
		t.Error("a token for nobody")
	}
}

// forge signs any claims, with the real key unless another one is given.
func forge(t *testing.T, method jwt.SigningMethod, key any, header, claims map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	for k, v := range header {
		if v == nil {
			delete(token.Header, k)
		} else {
			token.Header[k] = v
		}
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// with is a copy with these pairs; nil takes one out.
func with(base map[string]any, pairs ...any) map[string]any {
	out := maps.Clone(base)
	for i := 0; i < len(pairs); i += 2 {
		if name := pairs[i].(string); pairs[i+1] == nil {
			delete(out, name)
		} else {
			out[name] = pairs[i+1]
		}
	}
	return out
}

func TestForgeries(t *testing.T) {
	own, other := draw(t), draw(t)
	s := tokens(t, Options{Keys: []Key{own}})
	public := own.private.Public().(ed25519.PublicKey)
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	good := map[string]any{"iss": issuer, "aud": "tonearm", "sub": "the-id", "typ": "access", "iat": now, "nbf": now, "exp": now + 60}
	head := map[string]any{"kid": own.id, "typ": "access"}
	signed := func(claims map[string]any) string {
		return forge(t, jwt.SigningMethodEdDSA, own.private, head, claims)
	}
	if got, err := s.VerifyAccess(signed(good)); err != nil || got.UserID != "the-id" || got.Generation != 0 || got.PasswordAt.Unix() != now {
		t.Fatalf("the pattern of all forgeries is refused: %v", err)
	}
	whole := signed(good)
	parts := strings.Split(whole, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"access","kid":"` + own.id + `"}`))
	embedded := map[string]any{"kid": "", "typ": "access", "jwk": thumbprinted(other.private.Public()), "jku": "http://127.0.0.1:1/jwks.json"}
	for name, token := range map[string]string{
		"empty":              "",
		"not a token":        "not a token",
		"no signature":       parts[0] + "." + parts[1] + ".",
		"two parts":          parts[0] + "." + parts[1],
		"a byte changed":     parts[0] + "." + parts[1][:10] + "x" + parts[1][11:] + "." + parts[2],
		"alg none":           none + "." + parts[1] + ".",
		"alg none, signed":   none + "." + parts[1] + "." + parts[2],
		"none by the book":   forge(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, head, good),
		"HS256, public key":  forge(t, jwt.SigningMethodHS256, []byte(public), head, good),
		"HS256, public SPKI": forge(t, jwt.SigningMethodHS256, spki, head, good),
		"HS256, public PEM":  forge(t, jwt.SigningMethodHS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}), head, good),
		"ES256":              forge(t, jwt.SigningMethodES256, ec, head, good),
		"another key":        forge(t, jwt.SigningMethodEdDSA, other.private, head, good),
		"another key's id":   forge(t, jwt.SigningMethodEdDSA, other.private, with(head, "kid", other.id), good),
		"a key it brings":    forge(t, jwt.SigningMethodEdDSA, other.private, embedded, good),
		"no kid":             forge(t, jwt.SigningMethodEdDSA, own.private, map[string]any{"typ": "access"}, good),
		"kid not a string":   forge(t, jwt.SigningMethodEdDSA, own.private, with(head, "kid", 7), good),
		"no typ":             signed(with(good, "typ", nil)),
		"other typ":          signed(with(good, "typ", "download")),
		"no header typ":      forge(t, jwt.SigningMethodEdDSA, own.private, map[string]any{"kid": own.id, "typ": nil}, good),
		"header typ JWT":     forge(t, jwt.SigningMethodEdDSA, own.private, with(head, "typ", "JWT"), good),
		"expired":            signed(with(good, "exp", now-60)),
		"no expiry":          signed(with(good, "exp", nil)),
		"not yet":            signed(with(good, "nbf", now+60)),
		"no nbf":             signed(with(good, "nbf", nil)),
		"no iat":             signed(with(good, "iat", nil)),
		"issued later":       signed(with(good, "iat", now+60)),
		"other issuer":       signed(with(good, "iss", "https://elsewhere.example.org")),
		"no issuer":          signed(with(good, "iss", nil)),
		"other audience":     signed(with(good, "aud", "elsewhere")),
		"no audience":        signed(with(good, "aud", nil)),
		"no subject":         signed(with(good, "sub", nil)),
		"long":               strings.Repeat("a.", 1<<20),
	} {
		if got, err := s.VerifyAccess(token); !errors.Is(err, account.ErrToken) || got != (account.Session{}) {
			t.Errorf("%s: got %+v, %v; want ErrToken", name, got, err)
		}
		if _, err := s.VerifyDownload(token); !errors.Is(err, account.ErrToken) {
			t.Errorf("%s, as a download: %v; want ErrToken", name, err)
		}
	}
}

func TestRotation(t *testing.T) {
	old, fresh := draw(t), draw(t)
	before := tokens(t, Options{Keys: []Key{old}})
	during := tokens(t, Options{Keys: []Key{fresh, old, fresh}})
	after := tokens(t, Options{Keys: []Key{fresh}})
	oldToken, _, err := before.Download("m")
	if err != nil {
		t.Fatal(err)
	}
	newToken, _, err := during.Download("m")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		tokens *Tokens
		token  string
		ok     bool
	}{
		{"old under both", during, oldToken, true}, {"new under both", during, newToken, true},
		{"new after", after, newToken, true}, {"old after", after, oldToken, false}, {"new before", before, newToken, false},
	} {
		if _, err := c.tokens.VerifyDownload(c.token); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(during.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 2 || set.Keys[0]["kid"] != fresh.ID() || set.Keys[1]["kid"] != old.ID() {
		t.Errorf("key set %s", during.JWKS())
	}
	want := map[string]string{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": fresh.ID(),
		"x": base64.RawURLEncoding.EncodeToString(fresh.private.Public().(ed25519.PublicKey))}
	if fmt.Sprint(set.Keys[0]) != fmt.Sprint(want) {
		t.Errorf("key %v, want %v", set.Keys[0], want)
	}
}

// Key and thumbprint are those of RFC 8037, appendix A.3.
func TestThumbprint(t *testing.T) {
	seed, err := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	if err != nil {
		t.Fatal(err)
	}
	k, err := newKey(ed25519.NewKeyFromSeed(seed))
	if got, want := k.ID(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"; err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

func TestLoadOrCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "signing.pem")
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			keys, err := LoadOrCreate(path)
			if err != nil || len(keys) != 1 {
				t.Errorf("%v, %v", keys, err)
				return
			}
			ids[i] = keys[0].ID()
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("two keys: %s and %s", id, ids[0])
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want mode 0600", info, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreate(path); err == nil {
		t.Error("garbage was accepted or replaced")
	}
	if got, _ := os.ReadFile(path); string(got) != "garbage" {
		t.Error("the file was replaced")
	}
}

func TestParseKeys(t *testing.T) {
	block := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	a, b := draw(t), draw(t)
	keys, err := ParseKeys(append(append([]byte("a comment\n"), block(a.private)...), block(b.private)...))
	if err != nil || len(keys) != 2 || keys[0].ID() != a.ID() || keys[1].ID() != b.ID() {
		t.Errorf("two keys: %v, %v", keys, err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string][]byte{
		"empty": nil, "text": []byte("text"), "P-256": block(ec),
		"damaged":      pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}),
		"another type": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}),
	} {
		if keys, err := ParseKeys(in); err == nil {
			t.Errorf("%s was accepted: %v", name, keys)
		}
	}
}

func TestKeysStayOutOfLogs(t *testing.T) {
	k := draw(t)
	secret := strings.Trim(fmt.Sprintf("%d", k.private[:4]), "[]")
	text, err := json.Marshal(map[string]any{"key": k})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v", k, k, k), fmt.Sprintf("%v %+v %#v", []Key{k}, Options{Keys: []Key{k}}, &k), string(text)} {
		if strings.Contains(s, secret) || strings.Contains(s, "private") {
			t.Errorf("the key shows in %s", s)
		}
	}
}

func TestOptions(t *testing.T) {
	k := draw(t)
	for name, o := range map[string]Options{
		"no key": {Issuer: issuer}, "no issuer": {Keys: []Key{k}}, "empty key": {Keys: []Key{{}}, Issuer: issuer},
		"negative life": {Keys: []Key{k}, Issuer: issuer, AccessLife: -1},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// A token says which generation it belongs to and when the password was
// checked.
func TestSession(t *testing.T) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	s := tokens(t, Options{Keys: []Key{draw(t)}, Now: func() time.Time { return now }})
	token, expires, err := s.Access(account.User{ID: "u", Generation: 7}, now.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.VerifyAccess(token)
	if err != nil || got.UserID != "u" || got.Generation != 7 || !got.PasswordAt.Equal(now.Add(-time.Hour)) || !got.ExpiresAt.Equal(expires) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// A proof is good for its kind, for its time, and for nothing else.
func TestProof(t *testing.T) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	s := tokens(t, Options{Keys: []Key{draw(t)}, Now: func() time.Time { return now }})
	access, _, _ := s.Access(account.User{ID: "u"}, now)
	download, _, _ := s.Download("u")
	for _, kind := range account.ProofKinds {
		p := account.Proof{ID: "p", UserID: "u", Kind: kind, Email: "a@example.org", ExpiresAt: now.Add(kind.Life())}
		token, err := s.Proof(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range account.ProofKinds {
			got, err := s.VerifyProof(other, token)
			if other == kind && (err != nil || got.ID != p.ID || got.UserID != p.UserID || got.Email != p.Email || got.Kind != kind || !got.ExpiresAt.Equal(p.ExpiresAt)) {
				t.Errorf("%s: got %+v, %v", kind, got, err)
			}
			if other != kind && !errors.Is(err, account.ErrToken) {
				t.Errorf("%s as %s: %+v, %v", kind, other, got, err)
			}
			for _, wrong := range []string{access, download} {
				if _, err := s.VerifyProof(other, wrong); !errors.Is(err, account.ErrToken) {
					t.Errorf("another token as %s: %v", other, err)
				}
			}
		}
		if _, err := s.VerifyAccess(token); !errors.Is(err, account.ErrToken) {
			t.Errorf("%s opens the account: %v", kind, err)
		}
		if _, err := s.VerifyDownload(token); !errors.Is(err, account.ErrToken) {
			t.Errorf("%s opens an MP3: %v", kind, err)
		}
		for _, wrong := range []account.ProofKind{"access", "download", ""} {
			if _, err := s.VerifyProof(wrong, access); !errors.Is(err, account.ErrToken) {
				t.Errorf("an access token as proof %q: %v", wrong, err)
			}
		}
		start := now
		now = now.Add(kind.Life() + time.Minute)
		if _, err := s.VerifyProof(kind, token); !errors.Is(err, account.ErrToken) {
			t.Errorf("%s after its end: %v", kind, err)
		}
		now = start
	}
}

// The key of a notifier signs downloads and nothing else, whatever it writes
// into a token. Links that were signed by the gateway's key go on working.
func TestDownloadKey(t *testing.T) {
	main, links := draw(t), draw(t)
	old := tokens(t, Options{Keys: []Key{main}})
	gateway := tokens(t, Options{Keys: []Key{main}, DownloadKeys: []Key{links}})
	notifier := tokens(t, Options{DownloadKeys: []Key{links}})
	for name, signer := range map[string]*Tokens{"the version before": old, "gateway": gateway, "notifier": notifier} {
		token, _, err := signer.Download("the-mp3")
		if err != nil {
			t.Fatal(err)
		}
		if id, err := gateway.VerifyDownload(token); err != nil || id != "the-mp3" {
			t.Errorf("a link of %s: %q, %v", name, id, err)
		}
	}
	for name, signer := range map[string]*Tokens{"a notifier without a key of its own": old, "notifier": notifier} {
		token, err := signer.Unsubscribe("u", "a@example.org")
		if err != nil {
			t.Fatal(err)
		}
		if id, email, err := gateway.VerifyUnsubscribe(token); err != nil || id != "u" || email != "a@example.org" {
			t.Errorf("a link of %s: %q, %q, %v", name, id, email, err)
		}
		if id, err := gateway.VerifyDownload(token); !errors.Is(err, account.ErrToken) {
			t.Errorf("it opens an MP3: %q, %v", id, err)
		}
		if s, err := gateway.VerifyAccess(token); !errors.Is(err, account.ErrToken) {
			t.Errorf("it opens an account: %+v, %v", s, err)
		}
		for _, kind := range append(account.ProofKinds, "unsubscribe") {
			if p, err := gateway.VerifyProof(kind, token); !errors.Is(err, account.ErrToken) {
				t.Errorf("it proves: %+v, %v", p, err)
			}
		}
	}
	download, _, _ := notifier.Download("u")
	if id, _, err := gateway.VerifyUnsubscribe(download); !errors.Is(err, account.ErrToken) {
		t.Errorf("a link to an MP3 changes the mails of %q: %v", id, err)
	}
	if _, _, err := notifier.Access(account.User{ID: "u"}, time.Now()); err == nil {
		t.Error("a notifier signs for an account")
	}
	if _, err := notifier.Proof(account.Proof{ID: "p", UserID: "u", Kind: account.ProofReset}); err == nil {
		t.Error("a notifier signs a proof")
	}
	// Whoever has taken the notifier's key signs what they like.
	thief := tokens(t, Options{Keys: []Key{links}})
	access, _, _ := thief.Access(account.User{ID: "u"}, time.Now())
	if s, err := gateway.VerifyAccess(access); !errors.Is(err, account.ErrToken) {
		t.Errorf("the notifier's key opens an account: %+v, %v", s, err)
	}
	for _, kind := range account.ProofKinds {
		proof, _ := thief.Proof(account.Proof{ID: "p", UserID: "u", Kind: kind, Email: "a@example.org"})
		if p, err := gateway.VerifyProof(kind, proof); !errors.Is(err, account.ErrToken) {
			t.Errorf("the notifier's key proves: %+v, %v", p, err)
		}
	}
	if strings.Contains(string(gateway.JWKS()), links.ID()) {
		t.Error("others would take the notifier's key for one of accounts")
	}
	if _, err := New(Options{Keys: []Key{main}, DownloadKeys: []Key{main}, Issuer: issuer}); err == nil {
		t.Error("one key for both")
	}
	if _, err := New(Options{Issuer: issuer}); err == nil {
		t.Error("no key")
	}
}
