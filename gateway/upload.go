package gateway

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path"
	"strings"
	"time"
	"unicode"

	"tonearm/internal/account"
	"tonearm/internal/blob"
	"tonearm/internal/connection"
	"tonearm/internal/conversion"
	"tonearm/internal/quota"
)

const (
	storePause = 2 * time.Minute // without the store taking a byte
	maxFields  = 16              // before the file of a form
	maxName    = 1024            // bytes of a file name
	loginLife  = time.Minute     // between the look at the login and the first byte of the video
)

// video is what one request to /upload contains.
type video struct {
	name    string
	options conversion.Options
	notify  conversion.NotifyPreference
	content *limited
	form    *multipart.Reader // nil for a raw body
	body    io.Reader         // the whole of it
	key     string            // Idempotency-Key; '' for none
	known   bool              // an earlier request with this key has begun the upload
	size    int64             // bytes of the body; 0 where that is not known
	digest  digest
}

// upload is the plain form: one video, in a form or as the whole body. It is
// passed on to the store as it arrives.
func (g *Gateway) upload(w http.ResponseWriter, r *http.Request) error {
	began := g.o.Now()
	user, err := g.identifyForm(r, account.ScopeConvert)
	if err != nil {
		return err
	}
	leave, err := g.uploads.Enter(user.ID, g.quotaOf(user, account.QuotaGatewayUploads))
	if err != nil {
		return err
	}
	defer leave()
	limit := g.limit(user)
	if r.ContentLength > limit+maxFields*g.o.MaxBodyBytes { // certainly too large; otherwise the bytes are counted
		return tooLarge(limit)
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	body := newSource(w, r.Body, g.o.UploadPause, time.AfterFunc(storePause, func() { cancel(context.DeadlineExceeded) }))
	defer body.stalled.Stop()
	sum, err := parseDigest(r.Header)
	if err != nil {
		return err
	}
	r.Body = sum.body(body)
	v, file, err := g.video(r)
	if err != nil {
		return err
	}
	v.key, v.digest, v.body, v.size = r.Header.Get("Idempotency-Key"), sum, r.Body, max(r.ContentLength, 0)
	if err := checkKey(v.key); err != nil {
		return err
	}
	if v.key != "" {
		c, err := g.begun(ctx, user, v)
		if err == nil && !awaits(c) {
			if v.form != nil { // a client that is sending its form may not see an answer before it is through
				_, _ = io.Copy(io.Discard, r.Body)
			}
			return taken(w, http.StatusOK, c)
		}
		if v.known = err == nil; err != nil && !errors.Is(err, conversion.ErrNotFound) {
			return err
		}
	}
	content := bufio.NewReader(file)
	if _, err := content.Peek(1); err == io.EOF {
		return emptySource()
	} else if err != nil {
		return badForm(err)
	}
	if g.o.Now().Sub(began) > loginLife { // the client took its time; the session or the account may have ended since
		if user, err = g.identifyForm(r, account.ScopeConvert); err != nil {
			return err
		}
	}
	v.content = &limited{r: content, left: limit, refusal: tooLarge(limit)}
	c, err := g.receive(ctx, user, v)
	if err != nil {
		return err
	}
	return taken(w, http.StatusCreated, c)
}

// taken answers with the conversion of an upload.
func taken(w http.ResponseWriter, status int, c conversion.Conversion) error {
	out := answer(status, c)
	w.Header().Set("Location", "/v1/conversions/"+c.ID)
	w.Header().Set("ETag", out.ETag)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(out.Body)
}

// receive makes the conversion and stores its source. A failure leaves nothing
// behind, or the answer says that it may.
func (g *Gateway) receive(ctx context.Context, user account.User, v video) (conversion.Conversion, error) {
	hash := ""
	if v.key != "" {
		var err error
		if hash, err = v.hash(); err != nil {
			return conversion.Conversion{}, err
		}
	}
	c, err := conversion.New(conversion.Params{
		OwnerID: user.ID, OwnerEmail: user.Email, Language: string(user.Language), Filename: v.name, Options: v.options, Notify: mailed(user, v.notify), UploadWindow: g.o.UploadWindow,
		IdempotencyKey: v.key, RequestHash: hash,
	}, g.o.Now())
	if err != nil {
		return c, err
	}
	soon, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	room, err := g.roomFor(soon, user, v)
	if err != nil {
		return c, err
	}
	made := false
	defer func() { room.Done(made) }() // only now, because the record does not say the size before
	if err := g.count(soon, user, v.key); err != nil {
		return c, err
	}
	err = g.begin(soon, c)
	first := err == nil
	if first {
		room.Begun()
	}
	if errors.Is(err, conversion.ErrExists) && v.key != "" { // an earlier request was broken off, or is under way
		if c, err = g.begun(ctx, user, v); err == nil && !awaits(c) {
			return c, nil
		}
	}
	if err != nil {
		return c, err
	}
	object, err := g.store(ctx, c, v)
	if err != nil {
		return c, g.undo(ctx, user, c, v.key, first, err)
	}
	room.Sized(object.Size)
	soon, cancel = context.WithTimeout(ctx, quick)
	defer cancel()
	done, err := g.transition(soon, user, c.ID, func(c *conversion.Conversion) error { return c.Uploaded(object.Record(), g.o.Now()) })
	if err != nil { // also if the conversion was deleted meanwhile
		if v.key != "" && !errors.Is(err, conversion.ErrNotFound) {
			g.o.Log.Warn("could not record an upload that is stored", "conversion_id", c.ID, "error", err)
			return done, uncertain(c, v.key) // it is kept for the next try
		}
		return done, g.undo(ctx, user, c, v.key, first, err)
	}
	g.metrics.found.WithLabelValues(byForm).Inc()
	made = true
	return done, nil
}

// roomFor finds room for an upload in the user's quotas, and ends the video where
// that room ends.
func (g *Gateway) roomFor(ctx context.Context, user account.User, v video) (*quota.Admitted, error) {
	ask := quota.Ask{Uploads: 1, Bytes: v.size}
	if v.known {
		ask.Uploads = 0
	}
	room, err := g.meter.Admit(ctx, user, ask)
	if err == nil && room.Left < v.content.left {
		v.content.left, v.content.refusal = room.Left, quotaExceeded(&room.LeftOf)
	}
	return room, err
}

// store passes the video on to the object store.
func (g *Gateway) store(ctx context.Context, c conversion.Conversion, v video) (blob.Object, error) {
	object, err := g.o.Objects.Put(ctx, c.Object.Key, v.content)
	if failure := v.content.err; failure != nil {
		err = failure // the store's client may have changed it
	} else if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err == nil && v.form != nil {
		err = noMoreOptions(v.form)
	}
	if err == nil {
		err = v.digest.check(v.body)
	}
	return object, err
}

// undo takes back an upload that failed with err, and returns what to answer.
// With a key, another request may be sending the same video: only the first one
// takes it back, and only while nobody has recorded it.
func (g *Gateway) undo(ctx context.Context, user account.User, c conversion.Conversion, key string, first bool, err error) error {
	if !first {
		if errors.Is(err, conversion.ErrNotFound) {
			return conflict("An earlier request with this Idempotency-Key was broken off and took this upload with it. Send the video again.")
		}
		return err
	}
	known := (*problem)(nil)
	refused := errors.As(err, &known) // what was stored must not be converted
	if left := g.discard(ctx, user, c, key != "", refused); left && !refused {
		return uncertain(c, key)
	}
	return err
}

// begin writes the record and checks that the store answers, before a long body
// is read.
func (g *Gateway) begin(ctx context.Context, c conversion.Conversion) error {
	if err := g.o.Objects.Ping(ctx); err != nil {
		return err
	}
	return g.o.Records.Create(ctx, c)
}

// discard removes what a broken upload left: first the conversion, so that
// nobody starts it, then the object. With shared, a conversion that somebody has
// recorded is left alone. It reports whether the conversion may still be there;
// then the object stays too, because the conversion may need it, unless the
// upload was refused.
func (g *Gateway) discard(ctx context.Context, user account.User, c conversion.Conversion, shared, refused bool) (left bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*quick)
	defer cancel()
	kept := false
	_, err := g.transition(ctx, user, c.ID, func(c *conversion.Conversion) error {
		if kept = shared && !awaits(*c); kept {
			return conversion.ErrUnchanged
		}
		return c.Delete(g.o.Now())
	})
	if kept {
		return true
	}
	left = err != nil && !errors.Is(err, conversion.ErrNotFound)
	if !left || refused {
		err = errors.Join(err, g.o.Objects.Delete(ctx, c.Object.Key))
	}
	if err != nil && !errors.Is(err, conversion.ErrNotFound) { // otherwise it ends with its upload window
		g.outage.Warn("could not remove what a broken upload left", "conversion_id", c.ID, "error", err)
	}
	return left
}

// video finds the file in the request; its content is not set yet.
func (g *Gateway) video(r *http.Request) (v video, file io.Reader, err error) {
	query := r.URL.Query()
	for _, name := range []string{"options", "notify"} {
		if query.Has(name) {
			if err := g.set(&v, name, query.Get(name)); err != nil {
				return v, nil, err
			}
		}
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "multipart/form-data" {
		name := query.Get("filename")
		if _, params, err := mime.ParseMediaType(r.Header.Get("Content-Disposition")); err == nil && name == "" {
			name = params["filename"]
		}
		name = cmp.Or(name, r.PathValue("filename"))
		v.name = plainName(name)
		return v, r.Body, nil
	}
	form, err := r.MultipartReader()
	if err != nil {
		return v, nil, badForm(err)
	}
	v.form = form
	for range maxFields {
		part, err := form.NextPart()
		if err != nil {
			return v, nil, badForm(err)
		}
		if part.FileName() != "" {
			v.name = plainName(part.FileName())
			return v, part, nil
		}
		value, err := io.ReadAll(io.LimitReader(part, g.o.MaxBodyBytes+1))
		if err != nil {
			return v, nil, badForm(err)
		}
		if int64(len(value)) > g.o.MaxBodyBytes {
			return v, nil, &http.MaxBytesError{Limit: g.o.MaxBodyBytes}
		}
		if err := g.set(&v, part.FormName(), string(value)); err != nil {
			return v, nil, err
		}
	}
	return v, nil, invalid("form", "the form has too many fields before the file; leave out all but options and notify")
}

// set takes one field of the form or of the query.
func (g *Gateway) set(v *video, name, value string) (err error) {
	switch name {
	case "options":
		v.options, err = g.parseOptions([]byte(value))
	case "notify":
		v.notify = conversion.NotifyPreference(value)
		if v.notify != conversion.NotifyEmail && v.notify != conversion.NotifyFailures && v.notify != conversion.NotifyNone {
			err = invalid("form.notify", "use email or none")
		}
	default:
		err = invalid("form."+name, "unknown field; the form takes options, notify and, after them, one file")
	}
	return err
}

// noMoreOptions refuses options that come after the file, instead of ignoring
// them.
func noMoreOptions(form *multipart.Reader) error {
	part, err := form.NextPart()
	switch {
	case err == io.EOF:
		return nil
	case err != nil:
		return badForm(err)
	case part.FormName() == "options":
		return &conversion.OptionError{Message: "put the field options before the file"}
	}
	return invalid("form."+part.FormName(), "the form takes one file; put nothing after it")
}

func badForm(err error) error {
	if p := (*problem)(nil); errors.As(err, &p) {
		return p
	}
	if err == io.EOF { //nolint:errorlint // a wrapped one means that the form is cut off
		return invalid("form", "the form has no file; send one, for example with curl -F file=@video.mp4")
	}
	return refuse(http.StatusBadRequest, "invalid_request", "The form cannot be read: "+err.Error()+".")
}

// plainName makes a name of what a client calls its file.
func plainName(s string) string {
	s = strings.ToValidUTF8(path.Base(strings.ReplaceAll(s, `\`, "/")), "")
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, s))
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "")
	}
	if s == "" || s == "." || s == "/" {
		return "video"
	}
	return s
}

// limited ends a source that is longer than allowed. It keeps the reason,
// because the clients of stores take some errors of readers for the regular
// end.
type limited struct {
	r       io.Reader
	left    int64
	refusal error // of what is longer
	err     error
}

func (l *limited) Read(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		n, err = 0, l.refusal
	}
	if err != nil && !errors.Is(err, io.EOF) {
		if p := (*problem)(nil); !errors.As(err, &p) {
			err = badForm(err)
		}
		l.err = err
	}
	return n, err
}

// source is the body of an upload. The upload is given up if too little comes from
// the client for a while, or if the store takes nothing for a while.
type source struct {
	*connection.Steady
	io.Closer
	pause   time.Duration
	stalled *time.Timer
}

func newSource(w http.ResponseWriter, body io.ReadCloser, pause time.Duration, stalled *time.Timer) *source {
	return &source{connection.NewSteady(body, http.NewResponseController(w), pause), body, pause, stalled}
}

func (s *source) Read(p []byte) (int, error) {
	s.stalled.Stop() // waiting for the client is not the store's time
	n, err := s.Steady.Read(p)
	s.stalled.Reset(storePause)
	if err != nil && !errors.Is(err, io.EOF) {
		detail := "The upload was cut off. Send the video again."
		if errors.Is(err, os.ErrDeadlineExceeded) {
			detail = fmt.Sprintf("The upload was cut off because less than %d bytes came in %v. Send the video again.", connection.Progress, s.pause)
		}
		err = refuse(http.StatusBadRequest, "upload_incomplete", detail)
	}
	return n, err
}
