package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRelay(t *testing.T) {
	const event = `{"EventName":"s3:ObjectCreated:Put","Key":"b/k","Records":[{"s3":{"bucket":{"name":"b"}}}]}`
	relay := httptest.NewServer(newRelay())
	defer relay.Close()
	heard := 0
	answer := http.StatusOK
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard++
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || string(body) != event || r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("received %s %s with %q", r.Method, body, r.Header.Get("Authorization"))
		}
		w.WriteHeader(answer)
	}))
	defer receiver.Close()

	request := func(method, path, body string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, relay.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	registration := `{"url":"` + receiver.URL + `","token":"secret"}`
	gone := `{"url":"http://127.0.0.1:1","token":"secret"}`
	for _, step := range []struct {
		method, path, body string
		answer             int // the receiver's; 0: it must get no request
		want               int
	}{
		{http.MethodPost, eventPath, event, 0, 200},
		{http.MethodPost, eventPath, "", 0, 200},
		{http.MethodHead, eventPath, "", 0, 200},
		{http.MethodPut, "/receivers/b", "no", 0, 400},
		{http.MethodPut, "/receivers/other", gone, 0, 204},
		{http.MethodPut, "/receivers/b", registration, 0, 204},
		{http.MethodPost, eventPath, event, 200, 200},
		{http.MethodPost, eventPath, event, 503, 503},
		{http.MethodPut, "/receivers/b", gone, 0, 204},
		{http.MethodPost, eventPath, event, 0, 502},
		{http.MethodDelete, "/receivers/b", "", 0, 204},
		{http.MethodPost, eventPath, event, 0, 200},
	} {
		heard, answer = 0, step.answer
		if got := request(step.method, step.path, step.body); got != step.want {
			t.Errorf("%s %s %s = %d, want %d", step.method, step.path, step.body, got, step.want)
		}
		if asked := heard > 0; asked != (step.answer > 0) {
			t.Errorf("%s %s %s: asked the receiver: %t", step.method, step.path, step.body, asked)
		}
	}
}
