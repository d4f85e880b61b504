package s3blob

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"tonearm/internal/blob"
)

// PresignPut signs Content-Length and If-None-Match, so that the store refuses
// another length and another object.
func (s *Store) PresignPut(ctx context.Context, key string, size int64, expiry time.Duration, to blob.Audience) (blob.Request, error) {
	header := http.Header{}
	header.Set("Content-Length", strconv.FormatInt(size, 10))
	header.Set("If-None-Match", "*")
	return s.presign(ctx, http.MethodPut, key, nil, header, expiry, to)
}

// PresignOverwrite signs the host alone.
func (s *Store) PresignOverwrite(ctx context.Context, key string, expiry time.Duration, to blob.Audience) (blob.Request, error) {
	return s.presign(ctx, http.MethodPut, key, nil, nil, expiry, to)
}

// PresignGet makes the store answer with a Content-Disposition that every
// browser reads. filename loses only characters that no file name may have.
func (s *Store) PresignGet(ctx context.Context, key, filename, contentType string, expiry time.Duration, to blob.Audience) (blob.Request, error) {
	query := url.Values{}
	if filename != "" {
		query.Set("response-content-disposition", attachment(filename))
		if contentType != "" {
			query.Set("response-content-type", contentType)
		}
	}
	return s.presign(ctx, http.MethodGet, key, query, nil, expiry, to)
}

// PresignPart signs the part's number, its upload and Content-Length.
func (s *Store) PresignPart(ctx context.Context, key, uploadID string, number int, size int64, expiry time.Duration, to blob.Audience) (blob.Request, error) {
	query := url.Values{"uploadId": {uploadID}, "partNumber": {strconv.Itoa(number)}}
	header := http.Header{}
	header.Set("Content-Length", strconv.FormatInt(size, 10))
	return s.presign(ctx, http.MethodPut, key, query, header, expiry, to)
}

func (s *Store) presign(ctx context.Context, method, key string, query url.Values, header http.Header, expiry time.Duration, to blob.Audience) (blob.Request, error) {
	signer := s.public
	if to == blob.Internal {
		signer = s.core.Client
	}
	life, err := s.life(ctx, expiry)
	if err != nil {
		return blob.Request{}, fail("presign "+method, key, err)
	}
	expires := time.Now().Add(life)
	u, err := signer.PresignHeader(ctx, method, s.bucket, key, life, query, header)
	if err != nil {
		return blob.Request{}, fail("presign "+method, key, err)
	}
	if header == nil {
		header = http.Header{}
	}
	return blob.Request{Method: method, URL: u.String(), Header: header, ExpiresAt: expires}, nil
}

// life returns how long a URL can live: as long as asked, or as long as the
// credentials if that is shorter. If they are renewed before the URL is signed,
// the new ones last longer.
func (s *Store) life(ctx context.Context, asked time.Duration) (time.Duration, error) {
	if s.chain == nil {
		return asked, nil
	}
	s.chain.ask(asked)
	v, err := s.creds.GetWithContext(&credentials.CredContext{Context: ctx})
	if err != nil || v.Expiration.IsZero() {
		return asked, err
	}
	return min(asked, time.Until(v.Expiration).Truncate(time.Second)), nil // URLs count seconds
}

// attachment renders a Content-Disposition (RFC 6266) with the name twice:
// plain for old clients, and as UTF-8 (RFC 8187).
func attachment(filename string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r): // bidirectional controls hide the true ending of a name
			return -1
		case r == '/', r == '\\':
			return '_'
		}
		return r
	}, strings.ToValidUTF8(filename, "_"))
	var plain, extended strings.Builder
	for _, r := range name {
		switch {
		case r >= 0x80, r == '"', r == '%': // some clients decode percent signs in a plain name
			plain.WriteByte('_')
		default:
			plain.WriteRune(r)
		}
	}
	for i := range len(name) {
		if c := name[i]; attrChar(c) {
			extended.WriteByte(c)
		} else {
			fmt.Fprintf(&extended, "%%%02X", c)
		}
	}
	return `attachment; filename="` + plain.String() + `"; filename*=UTF-8''` + extended.String()
}

// attrChar reports whether c stands for itself in RFC 8187's value-chars.
func attrChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$&+-.^_`|~", c) >= 0
}
