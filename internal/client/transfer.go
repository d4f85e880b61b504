package client

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tonearm/internal/api"
	"tonearm/internal/printable"
	"tonearm/internal/retry"
)

const (
	partsAtOnce = 4  // of one file
	signAtOnce  = 16 // parts whose URLs are asked for together
	maxRounds   = 3  // times that an upload begins anew, or that a URL is replaced
	urlMargin   = time.Minute
)

var (
	errStalled    = errors.New("the transfer stopped: no data moved")
	errUploadGone = errors.New("the store has dropped the upload")
)

// StoreError is an answer of the object store that reports a failure.
type StoreError struct {
	Status int
	Code   string // the store's own, such as AccessDenied; may be ''
}

func (e *StoreError) Error() string {
	return strings.TrimSpace("the object store answered " + strconv.Itoa(e.Status) + " " + cmp.Or(printable.Escape(e.Code), http.StatusText(e.Status)))
}

// LocalError is a failure to read or write a local file.
type LocalError struct{ Err error }

func (e *LocalError) Error() string { return e.Err.Error() }
func (e *LocalError) Unwrap() error { return e.Err }

// Send uploads source, which holds cv.Size bytes, as cv.Upload says, and
// completes the upload. Parts that the store already has are not sent again.
// progress is called with the number of bytes that have arrived; the number can
// fall if something has to be sent again.
func (c *Client) Send(ctx context.Context, cv api.Conversion, source io.ReaderAt, progress func(done int64)) (api.Conversion, error) {
	up := cv.Upload
	for round := 1; up != nil; round++ {
		s := &sending{Client: c, id: cv.ID, size: cv.Size, source: source, progress: progress}
		var err error
		if up.PartSize > 0 {
			err = s.parts(ctx, *up)
		} else {
			err = s.whole(ctx, *up)
		}
		done := cv
		if err == nil {
			done, err = c.Complete(ctx, cv.ID)
		}
		var e *Error
		switch {
		case err == nil:
			return done, nil
		case round < maxRounds && (errors.Is(err, errUploadGone) || errors.As(err, &e) && e.Code == "upload_incomplete"):
		default:
			return cv, err
		}
		fresh, err := c.Upload(ctx, cv.ID, nil)
		if errors.As(err, &e) && e.Status == http.StatusConflict { // it no longer awaits an upload
			return c.Complete(ctx, cv.ID)
		}
		if err != nil {
			return cv, err
		}
		up = &fresh
	}
	return c.Complete(ctx, cv.ID)
}

// sending is one round of an upload.
type sending struct {
	*Client
	id       string
	size     int64
	source   io.ReaderAt
	progress func(int64)
	done     atomic.Int64

	mu   sync.Mutex
	todo []int // parts not stored, in order
	urls map[int]signedURL
}

type signedURL struct {
	url   string
	until time.Time
}

func (s *sending) count(n int64) { s.progress(s.done.Add(n)) }

// whole sends the source in a single request.
func (s *sending) whole(ctx context.Context, up api.Upload) error {
	for replaced := 0; ; replaced++ {
		if err := allowed(up); err != nil {
			return err
		}
		err := s.retry(ctx, func(ctx context.Context) error {
			return s.put(ctx, up.URL, up.Headers, 0, s.size)
		})
		var e *StoreError
		if !errors.As(err, &e) {
			return err
		}
		switch {
		case e.Status == http.StatusPreconditionFailed:
			return nil // stored already: an earlier try arrived, but its answer was lost
		case e.Status != http.StatusForbidden && e.Status != http.StatusNotFound || replaced == maxRounds:
			return err
		}
		// The URL has most likely expired, or the account that signed it is gone (404).
		if up, err = s.Upload(ctx, s.id, nil); err != nil {
			return err
		}
	}
}

// parts sends the missing parts of a multipart upload, several at a time.
func (s *sending) parts(ctx context.Context, up api.Upload) error {
	if want := (s.size + up.PartSize - 1) / up.PartSize; int64(up.PartCount) != want {
		return fmt.Errorf("the server asks for %d parts, but the video has %d", up.PartCount, want)
	}
	s.urls = map[int]signedURL{}
	s.remember(up)
	stored := map[int]bool{}
	for _, n := range up.Stored {
		stored[n] = true
	}
	for n := 1; n <= up.PartCount; n++ {
		if stored[n] {
			_, size := s.span(up, n)
			s.count(size)
		} else {
			s.todo = append(s.todo, n)
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(partsAtOnce)
	for _, n := range slices.Clone(s.todo) {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error { return s.sendPart(gctx, n, up) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// span returns where part n lies in the source.
func (s *sending) span(up api.Upload, n int) (offset, size int64) {
	offset = int64(n-1) * up.PartSize
	return offset, min(up.PartSize, s.size-offset)
}

func (s *sending) sendPart(ctx context.Context, n int, up api.Upload) error {
	offset, size := s.span(up, n)
	for replaced := 0; ; replaced++ {
		err := s.retry(ctx, func(ctx context.Context) error {
			u, err := s.url(ctx, n)
			if err != nil {
				return err
			}
			return s.put(ctx, u, nil, offset, size)
		})
		var e *StoreError
		switch {
		case err == nil:
			s.mu.Lock()
			s.todo = slices.DeleteFunc(s.todo, func(m int) bool { return m == n })
			s.mu.Unlock()
			return nil
		case errors.As(err, &e) && e.Status == http.StatusNotFound:
			return errUploadGone
		case errors.As(err, &e) && e.Status == http.StatusForbidden && replaced < maxRounds:
			s.mu.Lock()
			delete(s.urls, n)
			s.mu.Unlock()
		default:
			return fmt.Errorf("upload part %d: %w", n, err)
		}
	}
}

// url returns a URL for part n that is still good. It asks for the URLs of the
// next parts together with it, but not for those of all parts: they would
// expire in a slow upload.
func (s *sending) url(ctx context.Context, n int) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.urls[n]; ok && time.Now().Before(u.until) {
		return u.url, nil
	}
	i := slices.Index(s.todo, n)
	var up api.Upload
	err := s.once(ctx, http.MethodPost, conversionPath(s.id)+"/parts", request{ // sendPart tries again
		in: api.PartNumbers{Numbers: s.todo[i:min(i+signAtOnce, len(s.todo))]}, out: &up,
	})
	if err != nil {
		return "", err
	}
	s.remember(up)
	u, ok := s.urls[n]
	if !ok {
		return "", retry.Permanent(fmt.Errorf("the server gave no URL for part %d", n))
	}
	return u.url, nil
}

func (s *sending) remember(up api.Upload) {
	for _, p := range up.Parts {
		s.urls[p.Number] = signedURL{p.URL, up.ExpiresAt.Add(-urlMargin)}
	}
}

// uploadHeaders are what a server may ask to be sent with an upload, in lower case:
// what can be signed of a PUT to an S3 store. A name that ends in a hyphen stands
// for all that begin with it.
var uploadHeaders = []string{
	"content-length", "content-type", "content-md5", "if-none-match",
	"x-amz-checksum-", "x-amz-sdk-checksum-algorithm", "x-amz-content-sha256", "x-amz-meta-",
}

// allowed refuses what no server needs of an upload. A hostile server, or one that
// somebody has broken into, could otherwise have this program speak to any machine
// in its reach, as whomever it likes.
func allowed(up api.Upload) error {
	if up.Method != http.MethodPut {
		return fmt.Errorf("the server asks for the method %q for the upload, but only PUT is sent: is it a Tonearm server?", up.Method)
	}
	for name := range up.Headers {
		lower := strings.ToLower(name)
		known := slices.ContainsFunc(uploadHeaders, func(h string) bool {
			return lower == h && !strings.HasSuffix(h, "-") || strings.HasSuffix(h, "-") && len(lower) > len(h) && strings.HasPrefix(lower, h)
		})
		if !known {
			return fmt.Errorf("the server asks for the header %q with the upload, which is not sent to any store: is it a Tonearm server?", name)
		}
	}
	return nil
}

// put sends a span of the source to a presigned URL.
func (s *sending) put(ctx context.Context, to string, header map[string]string, offset, size int64) error {
	ctx, moving, stop := s.watch(ctx)
	defer stop()
	body := &meter{r: io.NewSectionReader(s.source, offset, size), left: size, onSent: func(n int64) {
		moving()
		s.count(n)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, to, io.NopCloser(body))
	if err != nil {
		return retry.Permanent(errors.New("the server gave a malformed URL for the upload"))
	}
	req.ContentLength = size
	for k, v := range header {
		if !strings.EqualFold(k, "Content-Length") { // net/http sets it
			req.Header.Set(k, v)
		}
	}
	resp, err := s.store(req)
	if err != nil {
		s.count(-body.stop())
		return err
	}
	defer resp.Body.Close()
	drain(resp.Body)
	return nil
}

// meter counts the bytes that are read of a request's body. net/http may go on
// reading after it has given up on the request.
type meter struct {
	mu      sync.Mutex
	r       io.Reader
	left    int64
	onSent  func(int64)
	sent    int64
	stopped bool
}

func (m *meter) Read(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return 0, io.ErrClosedPipe
	}
	n, err := m.r.Read(p)
	m.left -= int64(n)
	m.sent += int64(n)
	m.onSent(int64(n))
	switch {
	case m.left > 0 && (err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF)):
		return n, &LocalError{errors.New("the file became shorter during the upload; send it again")}
	case err != nil && err != io.EOF:
		return n, &LocalError{err}
	}
	return n, err
}

// stop ends the counting and returns the count.
func (m *meter) stop() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
	return m.sent
}

// watch returns a context that ends if moving is not called for a while.
func (c *Client) watch(parent context.Context) (ctx context.Context, moving, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	t := time.AfterFunc(c.o.Stall, func() { cancel(errStalled) })
	return ctx, func() { t.Reset(c.o.Stall) }, func() { t.Stop(); cancel(nil) }
}

// store sends a request to the object store, without the token. Its errors do
// not contain the URL.
func (c *Client) store(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", c.o.UserAgent)
	resp, err := c.http.Do(req)
	if err != nil {
		if errors.Is(context.Cause(req.Context()), errStalled) {
			err = errStalled
		}
		return nil, transportError(req.URL, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	defer drain(resp.Body)
	e := &StoreError{Status: resp.StatusCode}
	var told struct{ Code string }
	if xml.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&told) == nil {
		e.Code = told.Code
	}
	return nil, answered(resp, e)
}

// Download fetches an MP3 into f, which it truncates first, and checks its size
// and checksum. progress is called with the number of bytes that have arrived.
func (c *Client) Download(ctx context.Context, m api.MP3, f *os.File, progress func(done int64)) error {
	return c.retry(ctx, func(ctx context.Context) error {
		link, err := c.downloadLink(ctx, m.ID)
		if err != nil {
			return err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return retry.Permanent(&LocalError{err})
		}
		if err := f.Truncate(0); err != nil {
			return retry.Permanent(&LocalError{err})
		}
		return c.fetch(ctx, m, link, f, progress)
	})
}

// downloadLink returns the presigned URL that the gateway redirects to.
func (c *Client) downloadLink(ctx context.Context, id string) (*url.URL, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, "/v1/mp3s/"+url.PathEscape(id)+"/download", request{})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	defer drain(resp.Body)
	link, err := resp.Location()
	if err != nil || resp.StatusCode != http.StatusFound {
		return nil, retry.Permanent(fmt.Errorf("the server answered %d and gave no link to the MP3: is it a Tonearm server?", resp.StatusCode))
	}
	return link, nil
}

func (c *Client) fetch(ctx context.Context, m api.MP3, link *url.URL, f *os.File, progress func(int64)) error {
	ctx, moving, stop := c.watch(ctx)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link.String(), nil)
	if err != nil {
		return retry.Permanent(errors.New("the server gave a malformed URL for the MP3"))
	}
	resp, err := c.store(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	sum := sha256.New()
	size := int64(0)
	buf := make([]byte, 128<<10)
	for {
		n, err := resp.Body.Read(buf)
		if _, werr := f.Write(buf[:n]); werr != nil {
			return retry.Permanent(&LocalError{werr})
		}
		sum.Write(buf[:n])
		size += int64(n)
		moving()
		progress(size)
		if err == io.EOF {
			break
		}
		if err != nil {
			if errors.Is(context.Cause(ctx), errStalled) {
				err = errStalled
			}
			return fmt.Errorf("download: %w", err)
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); size != m.Size || got != m.SHA256 {
		return fmt.Errorf("the MP3 arrived damaged, with %d of %d bytes or a wrong checksum; download it again", size, m.Size)
	}
	return nil
}
