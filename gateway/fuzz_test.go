package gateway

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tonearm/internal/api"
)

// FuzzIdempotencyKey: whatever a client sends as the key, the same request again gives
// the same conversion, or both are refused.
func FuzzIdempotencyKey(f *testing.F) {
	for _, key := range []string{"a", " a ", strings.Repeat("k", 255), strings.Repeat("k", 256), "\xff", "\u0000", "ä", "%00", "'; DROP TABLE x; --", "$ne", "a\tb", "\u202e"} {
		f.Add(key)
	}
	s := start(f)
	u := s.user("a@example.org")
	body, err := json.Marshal(api.NewConversion{Filename: "x.mp4", Size: 1})
	if err != nil {
		f.Fatal(err)
	}
	ask := func(key string) (int, string) {
		r := httptest.NewRequest(http.MethodPost, "/v1/conversions", strings.NewReader(string(body)))
		r.Header = http.Header{"Idempotency-Key": {key}, "Content-Type": {"application/json"}, "Authorization": {"Bearer " + u.token}}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		var c struct{ ID, Code string }
		_ = json.Unmarshal(w.Body.Bytes(), &c)
		return w.Code, c.ID + c.Code
	}
	f.Fuzz(func(t *testing.T, key string) {
		first, id := ask(key)
		second, again := ask(key)
		switch {
		case first == http.StatusUnprocessableEntity && second == first:
		case first >= 500 || second >= 500 || first >= 300 || second >= 300:
			t.Errorf("%q: %d %s, then %d %s", key, first, id, second, again)
		case strings.TrimSpace(key) != "" && (id != again || second != http.StatusOK):
			t.Errorf("%q: %d %s, then %d %s", key, first, id, second, again)
		}
	})
}
