package abuse

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"tonearm/internal/api"
	"tonearm/internal/attempt"
	"tonearm/internal/waittest"
)

// names are of files: in requests, and in an inbox, whose keys nobody can refuse.
func names(*testing.T) []input {
	requested := func(name, filename string) input {
		return input{name, func(s *site) string {
			body, _ := json.Marshal(map[string]any{"filename": filename, "size": 1})
			return s.named("POST", "/v1/conversions", body)
		}}
	}
	raw := func(name, body string) input {
		return input{name, func(s *site) string { return s.named("POST", "/v1/conversions", []byte(body)) }}
	}
	path := func(name, path string) input { // of the form for curl -T
		return input{name, func(s *site) string { return s.named("PUT", "/upload/"+path, s.text) }}
	}
	return []input{
		requested("line feed", "a\nb.mp4"), requested("escape", "a\x1b[2Jb.mp4"), requested("nul", "a\x00.mp4"), requested("delete", "a\x7f.mp4"),
		requested("C1", "a\u009b2J.mp4"), requested("line separator", "a\u2028b.mp4"), requested("right to left", "a\u202e4pm.exe"),
		requested("isolates", "\u2066a\u2069.mp4"), requested("parent", "../../etc/passwd"), requested("absolute", "/etc/passwd"),
		requested("backslashes", `..\..\x.mp4`), requested("long", strings.Repeat("a", 10_000)), requested("empty", ""), requested("dots", ".."),
		requested("device", "CON.mp4"), requested("option", "-rf"), requested("markup", "<script>alert(1)</script>.mp4"),
		requested("template", "{{.Secret}}%s%n${x}`id`.mp4"), requested("header", "a\r\nX-Evil: 1.mp4"), requested("joined", "👩‍👩‍👧‍👦.mp4"),
		raw("not UTF-8", "{\"filename\":\"\xff\xfe.mp4\",\"size\":1}"), raw("half a surrogate", `{"filename":"\ud800.mp4","size":1}`),
		path("encoded slashes", "..%2F..%2Fx.mp4"), path("encoded line feed", "a%0Ab.mp4"), path("encoded nul", "a%00.mp4"),
		{"inbox", func(s *site) string {
			client := s.inbox()
			key := "inbox/eve@example.org/a\x1b[2J\n20261130 done ada.mp4"
			if _, err := client.PutObject(s.t.Context(), "tonearm", key, bytes.NewReader(s.tone), int64(len(s.tone)), minio.PutObjectOptions{}); err != nil {
				return minio.ToErrorResponse(err).Code
			}
			var found string
			waittest.Until(s.t, time.Minute, "the drop has a record", func() bool {
				var list struct {
					Conversions []struct{ ID, Filename string }
				}
				s.eve.Do("GET", "/v1/conversions?limit=100", nil, &list)
				for _, c := range list.Conversions {
					if strings.Contains(c.Filename, "20261130") {
						found = c.Filename
					}
				}
				return found != ""
			})
			return fmt.Sprintf("%+q", found)
		}},
		{"inbox of another user", func(s *site) string {
			_, err := s.inbox().PutObject(s.t.Context(), "tonearm", "inbox/../uploads/"+s.conversion.ID, bytes.NewReader(s.text), int64(len(s.text)), minio.PutObjectOptions{})
			return minio.ToErrorResponse(err).Code
		}},
	}
}

// named is the answer to the request for a conversion and, if there is one now, the
// name of its file.
func (s *site) named(method, path string, body []byte) string {
	h := http.Header{"Authorization": {"Bearer " + s.eve.Token}, "Content-Type": {"application/json"}, "Accept": {"application/json"}, "X-Forwarded-For": {s.network()}}
	status, said := s.ask(method, s.server+path, h, body)
	var c struct{ ID, Filename string }
	if status != http.StatusCreated || json.Unmarshal([]byte(said), &c) != nil {
		return answer(status, said)
	}
	if c.Filename == "" { // a plain form
		s.eve.Do("GET", "/v1/conversions/"+c.ID, nil, &c)
	}
	return fmt.Sprintf("%d %+q", status, c.Filename)
}

// inboxKey is the key that may only put below inbox/.
func (s *site) inboxKey() (access, secret string) {
	text := s.kept("inbox.env")
	value := func(name string) string {
		_, rest, _ := strings.Cut(text, name+"=")
		v, _, _ := strings.Cut(rest, "\n")
		return strings.Trim(v, `'"`)
	}
	return value("AWS_ACCESS_KEY_ID"), value("AWS_SECRET_ACCESS_KEY")
}

// inbox is a client with it.
func (s *site) inbox() *minio.Client {
	access, secret := s.inboxKey()
	c, err := minio.New(strings.TrimPrefix(s.s3, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(access, secret, ""), Region: "us-east-1", BucketLookup: minio.BucketLookupPath,
	})
	if err != nil {
		s.t.Error(err)
	}
	return c
}

// events are notifications with the right token, and with none.
func events(*testing.T) []input {
	post := func(s *site, token, body string) string {
		h := http.Header{"Content-Type": {"application/json"}}
		if token != "" {
			h.Set("Authorization", token)
		}
		return answer(s.ask("POST", s.events+"/events/s3", h, []byte(body)))
	}
	known := func(name, body string) input {
		return input{name, func(s *site) string {
			return post(s, "Bearer "+s.kept("event-token"), strings.ReplaceAll(body, "ADA", s.conversion.ID))
		}}
	}
	record := func(bucket, key, rest string) string {
		return `{"Records":[{"eventVersion":"2.0","eventSource":"minio:s3","eventName":"s3:ObjectCreated:Put","eventTime":"2026-11-30T00:00:00Z","s3":{"bucket":{"name":"` +
			bucket + `"},"object":{"key":"` + key + `","size":1,"eTag":"x"` + rest + `}}}]}`
	}
	all := []input{
		known("nothing", ""), known("null", "null"), known("number", "1"), known("text", `"x"`), known("list", "[]"), known("no records", "{}"),
		known("records are a number", `{"Records":1}`), known("a record is null", `{"Records":[null]}`), known("open", `{"Records":[`),
		known("deep", strings.Repeat(`{"Records":[`, 20_000)), known("not UTF-8", "{\"Records\":[{\"eventName\":\"\xff\"}]}"),
		known("large", `{"Records":"`+strings.Repeat("a", 2<<20)+`"}`), known("another bucket", record("other", "uploads/ADA", "")),
		known("nobody's upload", record("tonearm", "uploads/01890000-0000-7000-8000-000000000000", "")), known("parent", record("tonearm", "uploads/../mp3s/x", "")),
		known("encoded parent", record("tonearm", "uploads%2F..%2F..%2Fetc%2Fpasswd", "")), known("bad encoding", record("tonearm", "uploads/%zz", "")),
		known("nul in a key", record("tonearm", `uploads/\u0000`, "")), known("own MP3", record("tonearm", "mp3s/ADA.mp3", "")),
		known("a finished upload", record("tonearm", "uploads/ADA", "")), known("negative size", record("tonearm", "uploads/ADA", `,"size":-1`)),
		known("size beyond all", record("tonearm", "uploads/ADA", `,"size":1e400`)), known("long key", record("tonearm", "inbox/"+strings.Repeat("a", 5000), "")),
		known("a bad time", strings.Replace(record("tonearm", "uploads/ADA", ""), "2026-11-30T00:00:00Z", "yesterday", 1)),
		known("removed, not created", strings.Replace(record("tonearm", "uploads/ADA", ""), "ObjectCreated:Put", "ObjectRemoved:Delete", 1)),
	}
	for name, token := range map[string]string{"no token": "", "another token": "Bearer x", "no scheme": "x", "basic": "Basic eDp4", "token of a user": "ADA"} {
		all = append(all, input{name, func(s *site) string {
			return post(s, strings.ReplaceAll(token, "ADA", "Bearer "+s.ada.Token), record("tonearm", "uploads/"+s.conversion.ID, ""))
		}})
	}
	return all
}

// kept is a secret of the site's folder.
func (s *site) kept(name string) string {
	b, err := os.ReadFile(filepath.Join(s.data, name))
	if err != nil {
		s.t.Error(err)
	}
	return strings.TrimSpace(string(b))
}

// tokens are forged or misused.
func tokens(*testing.T) []input { //nolint:funlen // most of it is a table
	me := func(name string, token func(*site) string) input {
		return input{name, func(s *site) string { return s.api("GET", "/v1/me", token(s), nil, nil) }}
	}
	// signed changes the token of eve and signs it with the site's key.
	signed := func(name string, change func(header, claims map[string]any)) input {
		return me(name, func(s *site) string {
			header, claims := s.decoded(s.eve.Token)
			change(header, claims)
			return s.sign(encode(header) + "." + encode(claims))
		})
	}
	claim := func(name string, value any) func(h, c map[string]any) {
		return func(_, c map[string]any) { c[name] = value }
	}
	head := func(name string, value any) func(h, c map[string]any) {
		return func(h, _ map[string]any) { h[name] = value }
	}
	all := []input{
		me("none at all", func(*site) string { return "x" }), me("empty parts", func(*site) string { return ".." }),
		me("algorithm none", func(s *site) string {
			h, c := s.decoded(s.ada.Token)
			h["alg"] = "none"
			return encode(h) + "." + encode(c) + "."
		}),
		me("signed with the public key", func(s *site) string {
			h, c := s.decoded(s.ada.Token)
			h["alg"] = "HS256"
			text := encode(h) + "." + encode(c)
			mac := hmac.New(sha256.New, s.key().Public().(ed25519.PublicKey))
			mac.Write([]byte(text))
			return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
		}),
		me("another key", func(s *site) string {
			h, c := s.decoded(s.ada.Token)
			_, key, _ := ed25519.GenerateKey(nil)
			text := encode(h) + "." + encode(c)
			return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
		}),
		me("another subject", func(s *site) string {
			parts := strings.Split(s.eve.Token, ".")
			_, c := s.decoded(s.eve.Token)
			_, ada := s.decoded(s.ada.Token)
			c["sub"] = ada["sub"]
			return parts[0] + "." + encode(c) + "." + parts[2]
		}),
		me("no signature", func(s *site) string { return s.ada.Token[:strings.LastIndex(s.ada.Token, ".")+1] }),
		me("cut", func(s *site) string { return s.ada.Token[:len(s.ada.Token)-1] }),
		me("padded", func(s *site) string { return s.ada.Token + "==" }),
		me("long", func(*site) string { return strings.Repeat("a", 40_000) }),
		me("many parts", func(s *site) string { return s.ada.Token + ".x" }),
		signed("as it is", func(h, c map[string]any) {}), // the others differ from it by one thing
		signed("expired", claim("exp", time.Now().Add(-time.Hour).Unix())), signed("never expires", func(_, c map[string]any) { delete(c, "exp") }),
		signed("exp is a text", claim("exp", "4102444800")), signed("exp is a list", claim("exp", []any{4102444800})), signed("from the future", claim("iat", time.Now().Add(time.Hour).Unix())),
		signed("not yet", claim("nbf", time.Now().Add(time.Hour).Unix())), signed("another audience", claim("aud", "elsewhere")),
		signed("another issuer", claim("iss", "http://elsewhere.example")), signed("type of a download", claim("typ", "download")),
		signed("type is missing", func(_, c map[string]any) { delete(c, "typ") }), signed("subject is a number", claim("sub", 1)),
		signed("subject is a list", claim("sub", []any{"a"})), signed("nobody", claim("sub", "01890000-0000-7000-8000-000000000000")),
		signed("an ended session", claim("gen", -1)), signed("gen is a text", claim("gen", "0")), signed("gen beyond all", claim("gen", 1e300)),
		signed("key is a path", head("kid", "../../signing-keys.pem")), signed("key is missing", func(h, _ map[string]any) { delete(h, "kid") }),
		signed("critical extension", head("crit", []any{"exp"})), signed("critical extension unknown", func(h, _ map[string]any) { h["crit"], h["b64"] = []any{"b64"}, false }),
		signed("own key", head("jwk", map[string]any{"kty": "OKP"})), signed("key elsewhere", head("jku", "http://127.0.0.1:1/jwks.json")),
		{"claims twice", func(s *site) string {
			h, c := s.decoded(s.eve.Token)
			_, ada := s.decoded(s.ada.Token)
			b, _ := json.Marshal(c)
			twice := strings.Replace(string(b), "{", `{"sub":"`+ada["sub"].(string)+`",`, 1)
			return s.api("GET", "/v1/me", s.sign(encode(h)+"."+base64.RawURLEncoding.EncodeToString([]byte(twice))), nil, nil)
		}},
		{"API key that nobody made", func(s *site) string { return s.api("GET", "/v1/me", "tna_"+strings.Repeat("a", 43), nil, nil) }},
		{"two headers", func(s *site) string {
			return s.api("GET", "/v1/me", "", http.Header{"Authorization": {"Bearer x", "Bearer " + s.ada.Token}}, nil)
		}},
		{"in the query", func(s *site) string { return s.api("GET", "/v1/me?token="+s.ada.Token, "", nil, nil) }},
		{"of a session, for a download", func(s *site) string {
			return s.api("GET", "/download?token="+s.eve.Token+"&mp3_id="+s.mp3(), "", nil, nil)
		}},
		{"another user's MP3", func(s *site) string { return s.api("GET", "/v1/mp3s/"+s.mp3()+"/download", s.eve.Token, nil, nil) }},
		{"another user's conversion", func(s *site) string { return s.api("GET", "/v1/conversions/"+s.conversion.ID, s.eve.Token, nil, nil) }},
		{"another user's deletion", func(s *site) string {
			return s.api("DELETE", "/v1/conversions/"+s.conversion.ID, s.eve.Token, nil, nil)
		}},
		{"the audit log", func(s *site) string { return s.api("GET", "/v1/admin/audit", s.eve.Token, nil, nil) }},
	}
	for name, change := range map[string]func(string) string{
		"attempt, the right one": func(t string) string { return t }, "attempt, of another conversion": func(t string) string { return t },
		"attempt, with a plus": func(t string) string { return "+" + t }, "attempt, with a zero": func(t string) string { return "0" + t },
		"attempt, with a space": func(t string) string { return t + " " }, "attempt, without signature": func(t string) string { return t[:2] },
	} {
		all = append(all, input{name, func(s *site) string {
			id := s.conversion.ID
			if strings.HasSuffix(name, "another conversion") {
				id = "01890000-0000-7000-8000-000000000000"
			}
			token := change(attempt.Key(s.attemptKey()).Token(id, 1))
			return answer(s.ask("POST", s.events+"/attempts/"+s.conversion.ID+"/claim", http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}, []byte(`{}`)))
		}})
	}
	return all
}

func (s *site) mp3() string {
	var c api.Conversion
	s.ada.Do("GET", "/v1/conversions/"+s.conversion.ID, nil, &c)
	return c.MP3.ID
}

// key is the one that signs the site's tokens.
func (s *site) key() ed25519.PrivateKey {
	b, _ := pem.Decode([]byte(s.kept("signing-keys.pem")))
	key, err := x509.ParsePKCS8PrivateKey(b.Bytes)
	if err != nil {
		s.t.Error(err)
	}
	return key.(ed25519.PrivateKey)
}

// attemptKey signs the tokens of attempts.
func (s *site) attemptKey() []byte {
	key, err := hex.DecodeString(s.kept("attempt-key"))
	if err != nil {
		s.t.Error(err)
	}
	return key
}

func (s *site) decoded(token string) (header, claims map[string]any) {
	parts := strings.Split(token, ".")
	for i, into := range []*map[string]any{&header, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(b, into)
		}
		if err != nil {
			s.t.Error(err)
		}
	}
	return header, claims
}

func (s *site) sign(text string) string {
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(s.key(), []byte(text)))
}

func encode(part map[string]any) string {
	b, _ := json.Marshal(part)
	return base64.RawURLEncoding.EncodeToString(b)
}

// mails are addresses that somebody registers.
func mails(*testing.T) []input {
	address := func(name, email string) input {
		return input{name, func(s *site) string {
			body, _ := json.Marshal(api.NewUser{Email: email, Password: "a password of mine"})
			return s.api("POST", "/v1/users", "", nil, body)
		}}
	}
	return []input{
		address("header", "x@example.org\r\nBcc: y@example.org"), address("two", "x@example.org, y@example.org"), address("list", "x@example.org;y@example.org"),
		address("name", "X <x@example.org>"), address("group", "g: x@example.org;"), address("quoted", `"x y"@example.org`), address("comment", "x(y)@example.org"),
		address("literal", "x@[127.0.0.1]"), address("literal of IPv6", "x@[IPv6:::1]"), address("bare number", "x@127.0.0.1"), address("no domain", "x@"), address("no name", "@example.org"),
		address("no at", "x.example.org"), address("two ats", "x@y@example.org"), address("long name", strings.Repeat("x", 300)+"@example.org"),
		address("long domain", "x@"+strings.Repeat("a.", 200)+"org"), address("Cyrillic а", "x@exаmple.org"), address("all Cyrillic", "x@аррӏе.com"),
		address("fullwidth", "x@ｅxample.com"), address("zero width", "x@exam\u200bple.org"), address("right to left", "x@\u202eexample.org"), address("nul", "x\x00@example.org"),
		address("escape", "\x1b[2Jx@example.org"), address("route", "@a.example:x@example.org"), address("percent", "x%y@example.org"), address("pipe", "|id@example.org"),
		address("path", "/tmp/tonearm-escaped@example.org"), address("option", "-oQ/tmp@example.org"), address("local", "root@localhost"), address("a dot at the end", "x@example.org."),
		address("twin of another account", "ADA@EXAMPLE.org"), address("with an accent", "\u0301x@example.org"),
	}
}

// uploads misuse presigned URLs and what asks for them.
func uploads(*testing.T) []input {
	// put asks for the upload of a file and changes the request.
	put := func(name string, content int, change func(s *site, method *string, u *url.URL, h http.Header)) input {
		return input{name, func(s *site) string {
			var c api.Conversion
			if status, body := s.eve.Do("POST", "/v1/conversions", api.NewConversion{Filename: "x.mp4", Size: int64(len(s.text))}, &c); status != 201 {
				return answer(status, body)
			}
			method, h := c.Upload.Method, http.Header{}
			for k, v := range c.Upload.Headers {
				h.Set(k, v)
			}
			u, _ := url.Parse(c.Upload.URL)
			change(s, &method, u, h)
			status, body := s.ask(method, u.String(), h, bytes.Repeat(s.text, 2)[:len(s.text)+content])
			s.eve.Do("DELETE", "/v1/conversions/"+c.ID, nil, nil)
			return answer(status, body)
		}}
	}
	nothing := func(*site, *string, *url.URL, http.Header) {}
	with := func(name, value string) func(*site, *string, *url.URL, http.Header) {
		return func(_ *site, _ *string, _ *url.URL, h http.Header) { h.Set(name, value) }
	}
	query := func(name, value string) func(*site, *string, *url.URL, http.Header) {
		return func(_ *site, _ *string, u *url.URL, _ http.Header) {
			q := u.Query()
			q.Set(name, value)
			u.RawQuery = q.Encode()
		}
	}
	by := func(m string) func(*site, *string, *url.URL, http.Header) {
		return func(_ *site, method *string, _ *url.URL, _ http.Header) { *method = m }
	}
	to := func(path string) func(*site, *string, *url.URL, http.Header) {
		return func(s *site, _ *string, u *url.URL, _ http.Header) {
			u.Path = strings.ReplaceAll(path, "ADA", s.conversion.ID)
			u.RawPath = ""
		}
	}
	create := func(name, body string) input {
		return input{name, func(s *site) string { return s.api("POST", "/v1/conversions", s.eve.Token, nil, []byte(body)) }}
	}
	call := func(name, method, path, body string) input {
		return input{name, func(s *site) string {
			return s.api(method, strings.ReplaceAll(path, "ADA", s.conversion.ID), s.eve.Token, nil, []byte(body))
		}}
	}
	return []input{
		put("as announced", 0, nothing), // the others differ from it by one thing
		put("a byte more", 1, nothing), put("a byte less", -1, nothing), put("twice the bytes", 3600, nothing), put("no condition", 0, func(_ *site, _ *string, _ *url.URL, h http.Header) { h.Del("If-None-Match") }),
		put("public", 0, with("x-amz-acl", "public-read")), put("copy", 0, with("x-amz-copy-source", "/tonearm/uploads/x")), put("another kind", 0, with("x-amz-meta-owner", "ada")),
		put("redirect", 0, with("x-amz-website-redirect-location", "http://127.0.0.1:1/")), put("delete", 0, by("DELETE")), put("get", 0, by("GET")), put("post", 0, by("POST")), put("head", 0, by("HEAD")),
		put("another object", 0, to("/tonearm/uploads/ADA")), put("another prefix", 0, to("/tonearm/mp3s/ADA.mp3")), put("another bucket", 0, to("/other/x")), put("parent of an object", 0, to("/tonearm/uploads/../mp3s/x")),
		put("later", 0, query("X-Amz-Expires", "604800")), put("another date", 0, query("X-Amz-Date", "20200101T000000Z")), put("another key", 0, query("X-Amz-Credential", "x/20261130/us-east-1/s3/aws4_request")),
		put("no signature", 0, query("X-Amz-Signature", "")), put("policy of the bucket", 0, query("policy", "")), put("a part of nothing", 0, query("partNumber", "1")),
		{"without signature", func(s *site) string { return answer(s.ask("GET", s.s3+"/tonearm?list-type=2", nil, nil)) }},
		{"listing buckets", func(s *site) string { return answer(s.ask("GET", s.s3+"/", nil, nil)) }},
		create("negative", `{"filename":"x","size":-1}`), create("nothing", `{"filename":"x","size":0}`), create("beyond all", `{"filename":"x","size":9223372036854775808}`), create("half a byte", `{"filename":"x","size":1.5}`),
		create("a text", `{"filename":"x","size":"1"}`), create("no number", `{"filename":"x","size":NaN}`), create("too large", `{"filename":"x","size":9000000000000000000}`), create("twice", `{"filename":"x","size":1,"size":2}`),
		create("another owner", `{"filename":"x","size":1,"owner":"ada"}`), create("open body", `{"filename":"x"`), create("deep", strings.Repeat(`{"options":`, 20_000)), create("two documents", `{"filename":"x","size":1}{}`),
		create("bitrate", `{"filename":"x","size":1,"options":{"bitrate":-1}}`), create("start", `{"filename":"x","size":1,"options":{"start":"1; id"}}`), create("unknown option", `{"filename":"x","size":1,"options":{"filter":"amovie=/etc/passwd"}}`),
		create("title", `{"filename":"x","size":1,"options":{"title":"`+strings.Repeat("a", 70_000)+`"}}`),
		call("parts of another", "POST", "/v1/conversions/ADA/parts", `{"numbers":[1]}`), call("end of another", "POST", "/v1/conversions/ADA/complete", `{}`),
		call("cancel another", "POST", "/v1/conversions/ADA/cancel", ``), call("retry another", "POST", "/v1/conversions/ADA/retry", ``),
		call("parent", "GET", "/v1/conversions/..%2f..%2fme", ``), call("page of nowhere", "GET", "/v1/conversions?cursor=%00", ``), call("limit", "GET", "/v1/conversions?limit=100000000", ``), call("wait for ever", "GET", "/v1/conversions/ADA?wait=1e9", ``),
	}
}
