package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
	"tonearm/internal/quota"
)

const (
	maxSinglePut = 5 << 30 // bytes that a store accepts in one request
	minPartSize  = 16 << 20
	maxParts     = 10_000
	signAtOnce   = 1000 // URLs for parts in one answer
	maxKeyLength = 255  // bytes of an Idempotency-Key
)

type createInput struct {
	Key  string `header:"Idempotency-Key" doc:"At most 255 bytes. The same key and body again give the same conversion (200) with fresh URLs"`
	Body api.NewConversion
}

func (g *Gateway) create(ctx context.Context, user account.User, in *createInput) (*conversionOutput, error) {
	req := in.Body
	if req.Options == nil {
		req.Options = &conversion.Options{}
	}
	if err := g.acceptable(user, req); err != nil {
		return nil, err
	}
	if err := checkKey(in.Key); err != nil {
		return nil, err
	}
	hash, err := requestHash(req)
	if err != nil {
		return nil, err
	}
	parts := req.Parts || req.Size > maxSinglePut
	if in.Key != "" && (parts || !user.Confirmed()) { // otherwise the unique index finds a repeated request, and this lookup is saved
		out, err := g.repeated(ctx, user, in.Key, hash)
		if !errors.Is(err, conversion.ErrNotFound) {
			return out, err
		}
	}
	now := g.o.Now()
	c, err := conversion.New(conversion.Params{
		OwnerID: user.ID, OwnerEmail: user.Email, Language: string(user.Language), Filename: req.Filename, Size: req.Size, Sent: req.Sent, Options: *req.Options, Notify: mailed(user, req.Notify),
		IdempotencyKey: in.Key, RequestHash: hash, UploadWindow: g.o.UploadWindow,
	}, now)
	if err != nil {
		return nil, err
	}
	room, err := g.meter.Admit(ctx, user, quota.Ask{Uploads: 1, Bytes: req.Size})
	if err != nil {
		if in.Key != "" { // what was begun may go on
			if out, err := g.repeated(ctx, user, in.Key, hash); !errors.Is(err, conversion.ErrNotFound) {
				return out, err
			}
		}
		return nil, err
	}
	made := false
	defer func() { room.Done(made) }()
	if err := g.count(ctx, user, in.Key); err != nil {
		return nil, err
	}
	if parts {
		id, err := g.o.Objects.CreateUpload(ctx, c.Object.Key)
		if err != nil {
			return nil, err
		}
		if err := c.PlanParts(id, partSize(req.Size), now); err != nil {
			return nil, err
		}
	}
	if err := g.o.Records.Create(ctx, c); err != nil {
		if c.Upload != nil {
			g.abort(ctx, c.Object.Key, c.Upload.ID)
		}
		if errors.Is(err, conversion.ErrExists) && in.Key != "" { // the same request came before
			return g.repeated(ctx, user, in.Key, hash)
		}
		return nil, err
	}
	made = true
	g.o.Log.Info("conversion created", "conversion_id", c.ID, "size", c.Object.Size, "parts", parts)
	return g.withUpload(ctx, http.StatusCreated, user, c)
}

// acceptable checks a request against MP3's limits and the user's.
func (g *Gateway) acceptable(user account.User, req api.NewConversion) error {
	if err := checkName(req.Filename); err != nil {
		return err
	}
	switch limit := g.limit(user); {
	case req.Size < 0:
		return invalid("body.size", "the size must not be negative")
	case req.Size == 0:
		return emptySource()
	case req.Size > limit:
		return tooLarge(limit)
	case req.Sent != nil && req.Sent.OriginalSize < req.Size:
		return invalid("body.sent.original_size", "the whole video cannot be smaller than what is uploaded of it")
	}
	return req.Options.Validate()
}

// limit returns how many bytes one video of the user may have.
func (g *Gateway) limit(user account.User) int64 {
	if user.MaxUploadBytes > 0 {
		return user.MaxUploadBytes
	}
	return g.o.MaxUploadBytes
}

func emptySource() error {
	return refuse(http.StatusUnprocessableEntity, string(conversion.EmptySource.Code), conversion.EmptySource.Message+" Upload another one.",
		api.Field{Location: "body.size", Message: "the file is empty"})
}

func tooLarge(limit int64) error {
	return refuse(http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("The video is too large. The limit is %d bytes (%s).", limit, conversion.Size(limit)))
}

// requestHash tells one request from another, however its JSON was written. See
// api.NewConversion about hashes.
func requestHash(req any) (string, error) {
	canonical, err := json.Marshal(req)
	if err != nil {
		return "", fmt.Errorf("hash request: %w", err)
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:]), nil
}

// repeated answers a request whose idempotency key is known. If it is not
// known, repeated returns ErrNotFound.
func (g *Gateway) repeated(ctx context.Context, user account.User, key, hash string) (*conversionOutput, error) {
	c, err := g.o.Records.ByIdempotencyKey(ctx, user.ID, key)
	if err != nil {
		return nil, err
	}
	if c.RequestHash != hash {
		return nil, otherRequest()
	}
	return g.withUpload(ctx, http.StatusOK, user, c)
}

func otherRequest() error {
	return refuse(http.StatusUnprocessableEntity, "idempotency_mismatch",
		"This Idempotency-Key was used for another request. Use a new key.", api.Field{Location: "header.Idempotency-Key", Message: "used before"})
}

// withUpload answers with the conversion. While the conversion awaits its
// upload, the answer also says where to send it.
func (g *Gateway) withUpload(ctx context.Context, status int, user account.User, c conversion.Conversion) (*conversionOutput, error) {
	out := answer(status, c)
	out.Location = "/v1/conversions/" + c.ID
	if c.State != conversion.AwaitingUpload {
		return out, nil
	}
	var err error
	if status == http.StatusCreated { // nothing is stored yet
		out.Body.Upload, err = g.sign(ctx, c, nil, nil)
	} else {
		out.Body.Upload, err = g.resume(ctx, user, c, nil)
	}
	if p := (*problem)(nil); errors.As(err, &p) && p.Code == "conflict" { // all parts are sent; complete comes next
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// sign says where to send the source of c. If c is uploaded in parts, it signs
// URLs for the parts in numbers; if numbers is empty, for the next parts that
// are missing from have.
func (g *Gateway) sign(ctx context.Context, c conversion.Conversion, have []blob.Part, numbers []int) (*api.Upload, error) {
	// No URL outlives the upload window: what came with it would come too late.
	expiry := min(g.o.URLExpiry, c.ExpiresAt.Sub(g.o.Now())).Truncate(time.Second)
	if expiry <= 0 {
		return nil, conflict("The time for the upload of this conversion is over. To upload the video, create a new conversion.")
	}
	if c.Upload == nil {
		r, err := g.o.Objects.PresignPut(ctx, c.Object.Key, c.Object.Size, expiry, blob.Public)
		if err != nil {
			return nil, err
		}
		headers := map[string]string{}
		for name := range r.Header {
			headers[name] = r.Header.Get(name)
		}
		return &api.Upload{Method: r.Method, URL: r.URL, Headers: headers, ExpiresAt: r.ExpiresAt.UTC()}, nil
	}
	up := &api.Upload{PartSize: c.Upload.PartSize, PartCount: c.Upload.Parts, ExpiresAt: g.o.Now().Add(expiry).UTC()}
	for _, p := range have {
		up.Stored = append(up.Stored, p.Number)
	}
	if len(numbers) == 0 {
		for n := 1; n <= c.Upload.Parts && len(numbers) < signAtOnce; n++ {
			if _, found := slices.BinarySearch(up.Stored, n); !found {
				numbers = append(numbers, n)
			}
		}
	}
	for _, n := range numbers {
		r, err := g.o.Objects.PresignPart(ctx, c.Object.Key, c.Upload.ID, n, partLength(c, n), expiry, blob.Public)
		if err != nil {
			return nil, err
		}
		up.Parts = append(up.Parts, api.Part{Number: n, URL: r.URL})
		if r.ExpiresAt.Before(up.ExpiresAt) {
			up.ExpiresAt = r.ExpiresAt.UTC()
		}
	}
	return up, nil
}

// partSize returns the smallest part size, a multiple of 1 MiB and at least 16
// MiB, with which size bytes need no more parts than stores allow.
func partSize(size int64) int64 {
	const mib = 1 << 20
	need := (size + maxParts - 1) / maxParts
	return max(minPartSize, (need+mib-1)/mib*mib)
}

// partLength returns how many bytes part n of the upload of c has.
func partLength(c conversion.Conversion, n int) int64 {
	return min(c.Upload.PartSize, c.Object.Size-int64(n-1)*c.Upload.PartSize)
}

// abort drops a multipart upload that no record names. If that fails, it does
// no harm: an upload takes up space only if somebody sends parts, and nobody
// has URLs for them.
func (g *Gateway) abort(ctx context.Context, key, uploadID string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quick)
	defer cancel()
	if err := g.o.Objects.AbortUpload(ctx, key, uploadID); err != nil {
		g.o.Log.Warn("could not remove an unused multipart upload", "key", key, "upload_id", uploadID, "error", err)
	}
}
