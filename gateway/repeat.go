package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"hash"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"tonearm/internal/account"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
)

// A plain upload that is repeated after a lost answer must not become two
// conversions. An Idempotency-Key names the upload, and a Content-Digest proves
// that what arrived is what was sent.

// checkKey refuses an Idempotency-Key that no record can hold.
func checkKey(key string) error {
	if len(key) > maxKeyLength || !utf8.ValidString(key) {
		return invalid("header.Idempotency-Key", "a key may have at most 255 bytes of UTF-8")
	}
	return nil
}

// hash tells one plain upload from another under the same key.
func (v video) hash() (string, error) {
	return requestHash(struct {
		Form    string
		Name    string
		Options conversion.Options
		Notify  conversion.NotifyPreference
		Digest  []byte
	}{"upload", v.name, v.options, v.notify, v.digest.want})
}

// begun returns the conversion of an earlier request with the same key, and
// ErrNotFound if there is none. If the earlier request stored its video and could
// not record that, begun does. If the conversion still awaits its upload, the
// caller is to send the video in place of the earlier request.
func (g *Gateway) begun(ctx context.Context, user account.User, v video) (conversion.Conversion, error) {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	hash, err := v.hash()
	if err != nil {
		return conversion.Conversion{}, err
	}
	c, err := g.o.Records.ByIdempotencyKey(ctx, user.ID, v.key)
	if err != nil {
		return c, err
	}
	if c.RequestHash != hash {
		return c, otherRequest()
	}
	if !awaits(c) {
		return c, nil
	}
	object, err := g.o.Objects.Head(ctx, c.Object.Key)
	if errors.Is(err, blob.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	return g.transition(ctx, user, c.ID, func(c *conversion.Conversion) error { return c.Uploaded(object.Record(), g.o.Now()) })
}

func awaits(c conversion.Conversion) bool {
	return c.State == conversion.AwaitingUpload || c.State == conversion.Expired
}

// uncertain is the answer where a store fails in such a way that the video may
// be converted all the same.
func uncertain(c conversion.Conversion, key string) error {
	next := "Before you send it again, look: GET /v1/conversions/" + c.ID + "."
	if key != "" {
		next = "Send it again with the same Idempotency-Key: it is converted once."
	}
	return refuse(http.StatusServiceUnavailable, "outcome_unknown",
		"A store does not answer, so nobody can say whether the video was taken. "+next).
		with("Location", "/v1/conversions/"+c.ID).retryIn(retryAfter)
}

// digest checks a body against its Content-Digest (RFC 9530, section 2).
type digest struct {
	want []byte
	hash hash.Hash // nil if the header names no algorithm that is known
}

// parseDigest reads the header's strongest known digest. Others are ignored, as
// the RFC allows.
func parseDigest(header http.Header) (d digest, err error) {
	for member := range strings.SplitSeq(strings.Join(header.Values("Content-Digest"), ","), ",") {
		algorithm, value, found := strings.Cut(strings.TrimSpace(member), "=")
		var h hash.Hash
		switch algorithm {
		case "sha-256":
			h = sha256.New()
		case "sha-512":
			h = sha512.New()
		default:
			continue
		}
		text, begins := strings.CutPrefix(value, ":")
		text, ends := strings.CutSuffix(text, ":")
		want, err := base64.StdEncoding.DecodeString(text)
		if !found || !begins || !ends || err != nil || len(want) != h.Size() {
			return d, refuse(http.StatusBadRequest, "invalid_request",
				"The header Content-Digest cannot be read. Send it as RFC 9530 says: sha-256=:BASE64:.")
		}
		if len(want) > len(d.want) {
			d = digest{want, h}
		}
	}
	return d, nil
}

// body returns r and takes note of what is read from it.
func (d digest) body(r io.ReadCloser) io.ReadCloser {
	if d.hash == nil {
		return r
	}
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r, d.hash), r}
}

// check reads what is left of the body, and compares.
func (d digest) check(body io.Reader) error {
	if d.hash == nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return badForm(err)
	}
	if !bytes.Equal(d.hash.Sum(nil), d.want) {
		return refuse(http.StatusBadRequest, "digest_mismatch",
			"What arrived does not have the Content-Digest that was sent with it. Send the video again.")
	}
	return nil
}
