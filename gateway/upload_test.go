package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"tonearm/internal/api"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
)

// form writes a multipart form from pairs of field and value. A field that
// begins with @ is a file with that name.
func form(t *testing.T, pairs ...string) (body io.Reader, kind string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		create := w.CreateFormField
		name, file := strings.CutPrefix(pairs[i], "@")
		if file {
			create = func(string) (io.Writer, error) { return w.CreateFormFile("file", name) }
		}
		part, err := create(name)
		check(t, err)
		_, _ = io.WriteString(part, pairs[i+1])
	}
	check(t, w.Close())
	return &b, w.FormDataContentType()
}

func TestUpload(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	type request struct {
		method, path string
		body         io.Reader
		kind         string
		header       []string
		name         string
		kbps         int
	}
	requests := map[string]request{
		"curl -T video.mp4 URL/upload":               {"PUT", "/upload", strings.NewReader("video"), "", nil, "video", 0},
		"curl -T video.mp4 URL/upload/":              {"PUT", "/upload/v%20%231.mp4", strings.NewReader("video"), "", nil, "v #1.mp4", 0},
		"curl --data-binary @video URL/upload/v.mp4": {"POST", "/upload/v.mp4", strings.NewReader("video"), "application/x-www-form-urlencoded", nil, "v.mp4", 0},
		"name in the query":                          {"POST", "/upload?filename=" + url.QueryEscape("../Ü\x00.mp4"), strings.NewReader("video"), "video/mp4", nil, "Ü.mp4", 0},
		"name in the disposition": {"PUT", "/upload", strings.NewReader("video"), "",
			[]string{"Content-Disposition", `attachment; filename*=UTF-8''%C3%9C.mp4`}, "Ü.mp4", 0},
	}
	body, kind := form(t, "@Ü.mp4", "video")
	requests["curl -F file=@video.mp4"] = request{"POST", "/upload", body, kind, nil, "Ü.mp4", 0}
	body, kind = form(t, "options", `{"bitrate_kbps":128}`, "@a\\b.mp4", "video")
	requests["options before the file"] = request{"POST", "/upload", body, kind, nil, "b.mp4", 128}
	for name, r := range requests {
		t.Run(name, func(t *testing.T) {
			header := append(r.header, "Content-Type", r.kind)
			answer := u.call(r.method, r.path, r.body, header...)
			answer.t = t
			answer.want(201)
			c := decode[api.Conversion](answer)
			equal(t, "name", c.Filename, r.name)
			equal(t, "state", c.State, conversion.Queued)
			equal(t, "size", c.Size, 5)
			equal(t, "bit rate", c.Options.BitrateKbps, r.kbps)
			equal(t, "Location", answer.header.Get("Location"), "/v1/conversions/"+c.ID)
			record, err := s.o.Records.ByID(t.Context(), c.ID)
			check(t, err)
			equal(t, "content", s.object(record.Object.Key), "video")
		})
	}
	req, _ := http.NewRequest(http.MethodGet, "/", nil)
	req.SetBasicAuth("a@example.org", password)
	s.send("PUT", "/upload/v.mp4", strings.NewReader("video"), "Authorization", req.Header.Get("Authorization")).want(201)
}

// TestUploadRefused leaves no conversion and no object behind.
func TestUploadRefused(t *testing.T) {
	s := start(t, func(o *Options) { o.MaxUploadBytes, o.MaxBodyBytes = 100_000, 1000 })
	u := s.user("a@example.org")
	long := strings.Repeat("x", 100_001)
	type request struct {
		body   io.Reader
		kind   string
		status int
		code   string
	}
	with := func(status int, code string, pairs ...string) request {
		body, kind := form(t, pairs...)
		return request{body, kind, status, code}
	}
	requests := map[string]request{
		"empty":             {strings.NewReader(""), "", 422, "empty_source"},
		"empty and chunked": {io.MultiReader(strings.NewReader("")), "", 422, "empty_source"},
		"long and chunked":  {io.MultiReader(strings.NewReader(long)), "", 413, "too_large"},
		"very long":         {strings.NewReader(long + long), "", 413, "too_large"},
		"empty file":        with(422, "empty_source", "@a.mp4", ""),
		"long file":         with(413, "too_large", "@a.mp4", long),
		"no file":           with(422, "invalid_request", "options", "{}"),
		"nothing":           with(422, "invalid_request"),
		"unknown field":     with(422, "invalid_request", "owner", "x", "@a.mp4", "video"),
		"unknown option":    with(422, "invalid_options", "options", `{"x":1}`, "@a.mp4", "video"),
		"wrong option":      with(422, "invalid_options", "options", `{"channels":7}`, "@a.mp4", "video"),
		"two values":        with(422, "invalid_options", "options", `{}{}`, "@a.mp4", "video"),
		"long options":      with(413, "body_too_large", "options", `{"track":"`+strings.Repeat("e", 1000)+`"}`, "@a.mp4", "video"),
		"options after":     with(422, "invalid_options", "@a.mp4", "video", "options", `{"channels":1}`),
		"two files":         with(422, "invalid_request", "@a.mp4", "video", "@b.mp4", "video"),
		"no boundary":       {strings.NewReader("video"), "multipart/form-data", 400, "invalid_request"},
	}
	whole, kind := form(t, "options", "{}", "@a.mp4", "video and more")
	text, err := io.ReadAll(whole)
	check(t, err)
	for _, at := range []string{"{}", "and more"} { // the HTTP body ends properly, the form does not
		cut, _, _ := strings.Cut(string(text), at)
		requests["form cut before "+at] = request{strings.NewReader(cut), kind, 400, "invalid_request"}
	}
	for name, r := range requests {
		t.Run(name, func(t *testing.T) {
			answer := u.call("POST", "/upload", r.body, "Content-Type", r.kind)
			answer.t = t
			answer.want(r.status, r.code)
			s.nothingLeft(u)
		})
	}
}

// nothingLeft fails the test if the user has a conversion or an object.
func (s *stack) nothingLeft(u *user) {
	s.t.Helper()
	for _, c := range s.everything(u) {
		s.t.Errorf("left behind: %+v", c)
	}
	check(s.t, s.o.Objects.List(s.t.Context(), conversion.UploadPrefix, "", func(o blob.Object) bool {
		s.t.Errorf("left behind: %+v", o)
		return true
	}))
}

// TestUploadBrokenOff hangs up in the middle of bodies, below and above the
// size of a part.
func TestUploadBrokenOff(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	block := strings.Repeat("x", mib)
	for _, blocks := range []int{1, 18} {
		for _, framing := range []string{"Content-Length: 99999999\r\n", "Transfer-Encoding: chunked\r\n"} {
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
			check(t, err)
			fmt.Fprintf(conn, "PUT /upload/v.mp4 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n", u.token, framing)
			for range blocks {
				if strings.HasPrefix(framing, "T") {
					fmt.Fprintf(conn, "%x\r\n%s\r\n", len(block), block)
				} else {
					_, err = io.WriteString(conn, block)
					check(t, err)
				}
			}
			check(t, conn.(*net.TCPConn).CloseWrite())
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			check(t, err) // the answer comes once everything is cleaned up
			body, _ := io.ReadAll(res.Body)
			conn.Close()
			reply{t, res.StatusCode, res.Header, body}.want(400, "upload_incomplete")
			s.nothingLeft(u)
		}
	}
}

// TestUploadMemory streams 200 MB and watches the memory in use.
func TestUploadMemory(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	const size = 200_000_000
	w := &watched{r: io.LimitReader(zeros{}, size)}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before := m.HeapAlloc
	c := decode[api.Conversion](u.call("PUT", "/upload/v.mp4", w).want(201))
	equal(t, "size", c.Size, size)
	held := int64(w.most) - int64(before)
	t.Logf("%d MiB held at most", held/mib)
	if held > 64*mib {
		t.Errorf("%d bytes held for an upload", held)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// watched measures the live heap every 8 MiB.
type watched struct {
	r         io.Reader
	read, due int64
	most      uint64
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if w.read += int64(n); w.read >= w.due {
		w.due = w.read + 8*mib
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		w.most = max(w.most, m.HeapAlloc)
	}
	return n, err
}
