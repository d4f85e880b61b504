package s3blob_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tonearm/internal/blob"
	"tonearm/internal/blob/s3blob"
)

const inboxKey = "inbox/ann+b@example.org/my holiday.mp4"

// operations returns all methods that take a key.
func operations(s *s3blob.Store) map[string]func(ctx context.Context, key string) error {
	return map[string]func(ctx context.Context, key string) error{
		"create upload": func(ctx context.Context, key string) error { _, err := s.CreateUpload(ctx, key); return err },
		"parts":         func(ctx context.Context, key string) error { _, err := s.Parts(ctx, key, "id"); return err },
		"complete upload": func(ctx context.Context, key string) error {
			_, err := s.CompleteUpload(ctx, key, "id", []blob.Part{{Number: 1, ETag: "e"}})
			return err
		},
		"abort upload": func(ctx context.Context, key string) error { return s.AbortUpload(ctx, key, "id") },
		"put": func(ctx context.Context, key string) error {
			_, err := s.Put(ctx, key, strings.NewReader("x"))
			return err
		},
		"get":       func(ctx context.Context, key string) error { _, err := s.Get(ctx, key, "", 3, -1); return err },
		"get empty": func(ctx context.Context, key string) error { _, err := s.Get(ctx, key, "", 3, 0); return err },
		"head":      func(ctx context.Context, key string) error { _, err := s.Head(ctx, key); return err },
		"list": func(ctx context.Context, key string) error {
			return s.List(ctx, key, "", func(blob.Object) bool { return true })
		},
		"delete": func(ctx context.Context, key string) error { return s.Delete(ctx, key) },
	}
}

func storeAt(t *testing.T, endpoint string) *s3blob.Store {
	t.Helper()
	s, err := s3blob.New(s3blob.Options{Endpoint: endpoint, Bucket: "test", AccessKey: "a", SecretKey: "s"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fake serves as a store that fails in one way.
func fake(t *testing.T, handler http.HandlerFunc) *s3blob.Store {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return storeAt(t, server.URL)
}

// answer says all that a store may say.
func answer(code string, status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `<Error><Code>%s</Code><Message>no %s at %s</Message><Key>%s</Key><Resource>%s</Resource></Error>`,
			code, inboxKey, r.URL, inboxKey, r.URL.Path)
	}
}

// wantPrivate fails where an error says more than its log may hold.
func wantPrivate(t *testing.T, err error) {
	t.Helper()
	text := fmt.Sprintf("%v %+v", err, err)
	for _, secret := range []string{"example.org", "ann", "@example", "%40", "holiday", "?", "uploadId", "X-Amz", "http://"} {
		if strings.Contains(text, secret) {
			t.Errorf("the error has %q: %s", secret, text)
		}
	}
	var u *url.Error
	if errors.As(err, &u) {
		t.Errorf("the error wraps one with a URL: %s", text)
	}
}

func TestErrorsArePrivate(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, tt := range []struct {
		name   string
		store  *s3blob.Store
		wanted func(error) bool
	}{
		{"refused connection", storeAt(t, "http://"+closed.Addr().String()), func(err error) bool {
			var op *net.OpError
			return errors.As(err, &op) && errors.Is(err, syscall.ECONNREFUSED)
		}},
		{"deadline", fake(t, func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // otherwise the server does not notice that the client has gone
			<-r.Context().Done()
		}), func(err error) bool {
			return errors.Is(err, context.DeadlineExceeded)
		}},
		{"connection closed", fake(t, func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }), nil},
		{"denied", fake(t, answer("AccessDenied", http.StatusForbidden)), nil},
		{"not there", fake(t, answer("NoSuchUpload", http.StatusNotFound)), func(err error) bool { return errors.Is(err, blob.ErrNotExist) }},
		{"changed", fake(t, answer("PreconditionFailed", http.StatusPreconditionFailed)), func(err error) bool { return errors.Is(err, blob.ErrChanged) }},
		{"invalid", fake(t, answer("InvalidArgument", http.StatusBadRequest)), func(err error) bool { return errors.Is(err, blob.ErrInvalid) }},
		{"full", fake(t, answer("XMinioStorageFull", http.StatusInsufficientStorage)), func(err error) bool { return errors.Is(err, blob.ErrFull) }},
		{"not XML", fake(t, func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "no "+inboxKey+" at "+r.URL.String(), http.StatusForbidden)
		}), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			timeout := time.Minute
			if tt.name == "deadline" {
				timeout = 50 * time.Millisecond
			}
			var group sync.WaitGroup // in parallel, because the client pauses between its attempts
			defer group.Wait()
			for name, operation := range operations(tt.store) {
				for key, shown := range map[string]string{inboxKey: "inbox/…", "uploads/u/c/source": "uploads/u/c/source"} {
					group.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), timeout)
						defer cancel()
						err := operation(ctx, key)
						if tt.name == "not there" && (name == "delete" || name == "abort upload") {
							if err != nil {
								t.Errorf("%s: got %v", name, err)
							}
							return
						}
						if err == nil || tt.wanted != nil && !tt.wanted(err) {
							t.Errorf("%s: got %v", name, err)
							return
						}
						wantPrivate(t, err)
						if !strings.Contains(err.Error(), shown) {
							t.Errorf("the error does not name %s: %v", shown, err)
						}
					})
				}
			}
		})
	}
}

func TestSourceErrorsArePrivate(t *testing.T) {
	s := fake(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>")
	})
	source := &url.Error{Op: "Get", URL: "http://127.0.0.1/test/" + url.PathEscape(inboxKey) + "?X-Amz-Signature=1", Err: syscall.ECONNRESET}
	_, err := s.Put(t.Context(), inboxKey, failing{source})
	if !errors.Is(err, syscall.ECONNRESET) || !errors.Is(err, source) {
		t.Errorf("got %v, want %v", err, syscall.ECONNRESET)
	}
	if text := err.Error(); strings.Contains(text, "X-Amz") || strings.Contains(text, "example") || strings.Contains(text, "holiday") {
		t.Errorf("got %s", text)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestNewHidesEndpoint(t *testing.T) {
	for _, endpoint := range []string{"http://user:secret@example.org/x?token=secret", "http://user:secret@[::1", "http://example.org/\x7f?token=secret"} {
		_, err := s3blob.New(s3blob.Options{Endpoint: endpoint, Bucket: "b", AccessKey: "a", SecretKey: "s"})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
	}
}
