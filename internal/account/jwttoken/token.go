// Package jwttoken signs and checks Tonearm's tokens: JWTs signed with EdDSA.
//
// A token says in its claim and header typ what it is for: "access" stands for
// a user, "download" opens one MP3, "unsubscribe" changes which mails an account
// gets, the others stand for a link in a mail; none is accepted in place of another. Access tokens name the generation of the
// user's sessions (gen) and when the password was checked (auth_time). In a
// token without them, which an older version signed, they are 0 and the time of
// signing. A token names its key by kid, the RFC 7638 thumbprint of the key. Only EdDSA
// is accepted. A service that only mails outcomes has a key for downloads, which is
// good for these and for "unsubscribe" alone. To change keys, put the new one first and keep the old one
// behind it until the last download link under it has expired.
package jwttoken

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tonearm/internal/account"
	"tonearm/internal/strictjson"
)

const (
	audience = "tonearm"
	access   = "access"
	download = "download"
	fewer    = "unsubscribe"
	leeway   = 10 * time.Second // allowed difference between the clocks of two gateways
)

// Options say how tokens are made.
type Options struct {
	Keys         []Key            // the first signs, all verify; may be empty for a service that only signs downloads
	DownloadKeys []Key            // for the links in mails about outcomes alone: the first signs them in place of Keys, all verify them and nothing else
	Issuer       string           // the service's public URL
	AccessLife   time.Duration    // default DefaultAccessLife
	DownloadLife time.Duration    // default 7 days
	Now          func() time.Time // default time.Now
}

// Defaults of Options.
const (
	DefaultAccessLife   = 12 * time.Hour
	defaultDownloadLife = 7 * 24 * time.Hour
	unsubscribeLife     = 30 * 24 * time.Hour // what laws on commercial mail ask for
)

func (o Options) withDefaults() Options {
	o.AccessLife = cmp.Or(o.AccessLife, DefaultAccessLife)
	o.DownloadLife = cmp.Or(o.DownloadLife, defaultDownloadLife)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func (o Options) validate() error {
	switch {
	case len(o.Keys)+len(o.DownloadKeys) == 0:
		return errors.New("a signing key is required")
	case o.Issuer == "":
		return errors.New("an issuer is required")
	case o.AccessLife < 0 || o.DownloadLife < 0:
		return errors.New("the life of tokens must not be negative")
	}
	return nil
}

// Tokens is an account.Tokens.
type Tokens struct {
	options Options
	keys    map[string]Key
	only    map[string]Key // good for the links in mails about outcomes alone
	jwks    []byte
	parser  *jwt.Parser
}

var _ account.Tokens = (*Tokens)(nil)

// New checks the options.
func New(o Options) (*Tokens, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	t := &Tokens{options: o, keys: map[string]Key{}, only: map[string]Key{}, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}),
		jwt.WithIssuer(o.Issuer), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(), jwt.WithStrictDecoding(), jwt.WithIssuedAt(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(o.Now),
	)}
	set := struct {
		Keys []jwk `json:"keys"`
	}{}
	for _, k := range o.Keys {
		if k.private == nil {
			return nil, errors.New("tokens: a key is empty")
		}
		if _, twice := t.keys[k.id]; !twice {
			t.keys[k.id] = k
			set.Keys = append(set.Keys, k.jwk())
		}
	}
	for _, k := range o.DownloadKeys {
		if k.private == nil {
			return nil, errors.New("tokens: a key is empty")
		}
		if _, both := t.keys[k.id]; both {
			return nil, errors.New("tokens: a key for downloads must not be a signing key, too: whoever has it could sign tokens for accounts")
		}
		t.only[k.id] = k
	}
	var err error
	if t.jwks, err = json.Marshal(set); err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	return t, nil
}

// claims are what a token says.
type claims struct {
	jwt.RegisteredClaims
	Type       string           `json:"typ"`
	Generation int64            `json:"gen,omitempty"`       // of access tokens
	PasswordAt *jwt.NumericDate `json:"auth_time,omitempty"` // of access tokens
	Email      string           `json:"email,omitempty"`     // of proofs and unsubscribe tokens
}

// plain are claims as the library reads them, which takes more than it should: times
// and numbers as strings, fractions, names in another case, names that are there twice.
type plain claims

// shapes are what the claims may look like in JSON (RFC 7519, section 4.1). Times and
// the generation are whole numbers that are not negative; the audience is a string or
// a list of strings, as plain checks.
var shapes = map[string]*regexp.Regexp{
	"iss": text, "sub": text, "jti": text, "typ": text, "email": text,
	"exp": whole, "nbf": whole, "iat": whole, "auth_time": whole, "gen": whole,
	"aud": regexp.MustCompile(`^["\[]`),
}

var (
	text  = regexp.MustCompile(`^"`)
	whole = regexp.MustCompile(`^(0|[1-9][0-9]{0,11})$`)
)

// UnmarshalJSON refuses claims of another type, and what could be read in two ways.
func (c *claims) UnmarshalJSON(data []byte) error {
	var raw map[string]json.RawMessage
	if err := strictjson.Unmarshal(data, &raw); err != nil {
		return err
	}
	for name, value := range raw {
		for known, shape := range shapes {
			if name != known && strings.EqualFold(name, known) {
				return fmt.Errorf("%q is no claim", name)
			}
			if name == known && !shape.Match(value) {
				return fmt.Errorf("the claim %q is of another type", name)
			}
		}
	}
	return json.Unmarshal(data, (*plain)(c))
}

// Access returns a token that stands for the user, and when it ends.
func (t *Tokens) Access(u account.User, passwordAt time.Time) (string, time.Time, error) {
	return t.sign(claims{Type: access, RegisteredClaims: jwt.RegisteredClaims{Subject: u.ID},
		Generation: u.Generation, PasswordAt: jwt.NewNumericDate(passwordAt)}, t.options.AccessLife)
}

// Download returns a token that opens one MP3, and when it ends.
func (t *Tokens) Download(mp3ID string) (string, time.Time, error) {
	return t.sign(claims{Type: download, RegisteredClaims: jwt.RegisteredClaims{Subject: mp3ID}}, t.options.DownloadLife)
}

// Unsubscribe returns a token that changes which mails an account gets, and
// nothing else.
func (t *Tokens) Unsubscribe(userID, email string) (string, error) {
	token, _, err := t.sign(claims{Type: fewer, RegisteredClaims: jwt.RegisteredClaims{Subject: userID}, Email: email}, unsubscribeLife)
	return token, err
}

// Proof returns a token for the link of a mail.
func (t *Tokens) Proof(p account.Proof) (string, error) {
	token, _, err := t.sign(claims{Type: string(p.Kind), RegisteredClaims: jwt.RegisteredClaims{Subject: p.UserID, ID: p.ID}, Email: p.Email},
		p.Kind.Life())
	return token, err
}

// VerifyAccess returns what the token says; account.ErrToken.
func (t *Tokens) VerifyAccess(token string) (account.Session, error) {
	c, err := t.verify(access, token)
	if err != nil {
		return account.Session{}, err
	}
	s := account.Session{UserID: c.Subject, Generation: c.Generation, PasswordAt: c.IssuedAt.Time, ExpiresAt: c.ExpiresAt.Time}
	if c.PasswordAt != nil {
		s.PasswordAt = c.PasswordAt.Time
	}
	return s, nil
}

// VerifyDownload returns the MP3's id; account.ErrToken.
func (t *Tokens) VerifyDownload(token string) (string, error) {
	c, err := t.verify(download, token)
	return c.Subject, err
}

// VerifyUnsubscribe returns whose mails the token is about, and to which address
// they go; account.ErrToken.
func (t *Tokens) VerifyUnsubscribe(token string) (userID, email string, err error) {
	c, err := t.verify(fewer, token)
	return c.Subject, c.Email, err
}

// VerifyProof returns what the token proves; account.ErrToken.
func (t *Tokens) VerifyProof(kind account.ProofKind, token string) (account.Proof, error) {
	c, err := t.verify(string(kind), token)
	if err != nil || c.ID == "" || c.Email == "" || !slices.Contains(account.ProofKinds, kind) {
		return account.Proof{}, account.ErrToken
	}
	return account.Proof{ID: c.ID, UserID: c.Subject, Kind: kind, Email: c.Email, ExpiresAt: c.ExpiresAt.Time}, nil
}

// JWKS returns the public keys as a JSON Web Key Set.
func (t *Tokens) JWKS() []byte { return t.jwks }

func (t *Tokens) sign(c claims, life time.Duration) (string, time.Time, error) {
	if c.Subject == "" {
		return "", time.Time{}, fmt.Errorf("sign %s token: for nobody", c.Type)
	}
	now := t.options.Now().UTC().Truncate(time.Second)
	expires := now.Add(life)
	c.Issuer, c.Audience = t.options.Issuer, jwt.ClaimStrings{audience}
	c.IssuedAt, c.NotBefore, c.ExpiresAt = jwt.NewNumericDate(now), jwt.NewNumericDate(now), jwt.NewNumericDate(expires)
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
	keys := t.options.Keys
	if linked(c.Type) && len(t.options.DownloadKeys) > 0 {
		keys = t.options.DownloadKeys
	}
	if len(keys) == 0 {
		return "", time.Time{}, fmt.Errorf("sign %s token: there is no key for it", c.Type)
	}
	key := keys[0]
	token.Header["typ"], token.Header["kid"] = c.Type, key.id
	signed, err := token.SignedString(key.private)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign %s token: %w", c.Type, err)
	}
	return signed, expires, nil
}

// linked reports whether tokens of a type are in mails about outcomes.
func linked(typ string) bool { return typ == download || typ == fewer }

func (t *Tokens) verify(typ, token string) (claims, error) {
	var c claims
	if strings.ContainsAny(token, "\r\n") { // the decoder of base64 passes over them
		return c, account.ErrToken
	}
	_, err := t.parser.ParseWithClaims(token, &c, func(parsed *jwt.Token) (any, error) {
		id, _ := parsed.Header["kid"].(string)
		key, ok := t.keys[id]
		if !ok && linked(typ) {
			key, ok = t.only[id]
		}
		if !ok {
			return nil, errors.New("unknown key")
		}
		if _, must := parsed.Header["crit"]; must { // RFC 7515, section 4.1.11: no extension is understood here
			return nil, errors.New("an extension that must be understood")
		}
		if parsed.Header["typ"] != typ {
			return nil, errors.New("another type of token")
		}
		return key.private.Public(), nil
	})
	// The reason for a refusal concerns nobody but the signer.
	if err != nil || c.Type != typ || c.Subject == "" || c.IssuedAt == nil || c.NotBefore == nil {
		return claims{}, account.ErrToken
	}
	return c, nil
}

// jwk is a public key on the wire (RFC 8037).
type jwk struct {
	Curve     string `json:"crv"`
	KeyType   string `json:"kty"`
	X         string `json:"x"`
	ID        string `json:"kid,omitempty"`
	Use       string `json:"use,omitempty"`
	Algorithm string `json:"alg,omitempty"`
}

func (k Key) jwk() jwk {
	j := thumbprinted(k.private.Public())
	j.ID, j.Use, j.Algorithm = k.id, "sig", "EdDSA"
	return j
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
