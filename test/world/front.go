package world

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// Quiet drops what proxies log about clients and programs that have gone.
var Quiet = log.New(io.Discard, "", 0)

// Front is a proxy in front of the object store, at the address that clients use. It
// counts what the store accepts, and can hold the parts of uploads.
type Front struct {
	URL string

	mu     sync.Mutex
	bytes  int64
	stored map[string]int // how often the store took a part, by upload and number
	most   int            // how many more parts may pass; below 0 all
	held   int            // parts that may not
}

// StartFront starts one in front of the store at this URL.
func StartFront(t *testing.T, store string) *Front {
	t.Helper()
	target, err := url.Parse(store)
	if err != nil {
		t.Fatal(err)
	}
	f := &Front{stored: map[string]int{}, most: -1}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // the signature covers it
		},
		ModifyResponse: func(r *http.Response) error {
			if r.Request.Method == http.MethodPut && r.StatusCode == http.StatusOK {
				f.count(r.Request)
			}
			return nil
		},
		ErrorLog: Quiet,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if partOf(r) != "" && !f.pass() {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done() // its client has gone
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	f.URL = server.URL
	return f
}

// partOf names the part that a request uploads; "" for other requests.
func partOf(r *http.Request) string {
	q := r.URL.Query()
	if r.Method != http.MethodPut || !q.Has("partNumber") {
		return ""
	}
	return q.Get("uploadId") + " " + q.Get("partNumber")
}

func (f *Front) count(r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bytes += r.ContentLength
	if part := partOf(r); part != "" {
		f.stored[part]++
	}
}

func (f *Front) pass() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.most == 0 {
		f.held++
		return false
	}
	f.most--
	return true
}

// LetPass lets n more parts reach the store and holds all later ones. If n is
// below 0, all parts pass.
func (f *Front) LetPass(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.most, f.held = n, 0
}

// Parts returns how many parts the store took, how many of these it took again,
// and how many parts are held.
func (f *Front) Parts() (taken, again, held int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.stored {
		taken += n
		again += n - 1
	}
	return taken, again, f.held
}

// Bytes returns how many bytes the store took, in parts or at once.
func (f *Front) Bytes() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bytes
}
