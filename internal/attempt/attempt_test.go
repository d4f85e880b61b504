package attempt_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tonearm/internal/attempt"
)

func TestToken(t *testing.T) {
	key, other := attempt.Key(strings.Repeat("k", 32)), attempt.Key(strings.Repeat("o", 32))
	token := key.Token("id", 7)
	if n, err := key.Verify("id", token); n != 7 || err != nil {
		t.Errorf("own token: %d, %v", n, err)
	}
	for name, bad := range map[string]string{
		"another conversion": key.Token("id2", 7),
		"another key":        other.Token("id", 7),
		"another number":     "8" + token[1:],
		"no number":          "x" + token[1:],
		"no dot":             strings.ReplaceAll(token, ".", ""),
		"no base64":          "7.!",
		"empty":              "",
		"plus":               "+" + token,
		"leading zero":       "0" + token,
		"line feed inside":   token[:20] + "\n" + token[20:],
		"line feed":          token + "\n",
		"carriage return":    token + "\r",
		"space":              " " + token,
		"space behind":       token + " ",
		"padding":            token + "=",
		"upper case":         strings.ToUpper(token),
		"spare bits":         token[:len(token)-1] + spare(token[len(token)-1]),
		"something behind":   token + ".",
	} {
		if _, err := key.Verify("id", bad); !errors.Is(err, attempt.ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if strings.Contains(key.String(), "k]") || key.String() == string(key) {
		t.Error("the key prints itself")
	}
}

// spare is another last letter of base64 for 32 bytes, of which the last two bits stand
// for nothing.
func spare(last byte) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(letters[strings.IndexByte(letters, last)|1])
}

// answers is a dispatcher that answers with these statuses, one after the
// other, and then with 200.
type answers []int

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	status := http.StatusOK
	if len(*a) > 0 {
		status, *a = (*a)[0], (*a)[1:]
	}
	if status == 0 {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"state": "done", "code": "some_code"})
	return w.Result(), nil
}

func TestClientRetries(t *testing.T) {
	tests := []struct {
		name    string
		answers answers
		want    error
		left    int // answers that were not used
	}{
		{"at once", nil, nil, 0},
		{"away for a while", answers{0, 0, 503, 500, 502, 429, 408, 0, 503, 503, 503, 503}, nil, 0},
		{"wrong token", answers{0, 401, 503}, attempt.ErrToken, 1},
		{"not current", answers{503, 409, 503}, attempt.ErrStale, 1},
		{"not understood", answers{400, 503}, attempt.ErrRefused, 1},
		{"elsewhere", answers{302, 503}, attempt.ErrRefused, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				retries := 0
				c := attempt.Client{BaseURL: "http://dispatcher/", ConversionID: "id", Token: "t",
					HTTP: &http.Client{Transport: &tt.answers}, Retrying: func(error) { retries++ }}
				started, asked := time.Now(), len(tt.answers)
				taken, err := c.Result(t.Context(), attempt.Result{})
				if !errors.Is(err, tt.want) || err == nil && taken.State != "done" {
					t.Fatalf("got %v, %v; want %v", taken, err, tt.want)
				}
				if len(tt.answers) != tt.left {
					t.Errorf("%d answers left, want %d", len(tt.answers), tt.left)
				}
				if d := time.Since(started); d > time.Duration(asked)*10*time.Second {
					t.Errorf("took %v", d)
				}
				if asked > 1 && tt.want == nil && retries != asked {
					t.Errorf("told of %d retries, want %d", retries, asked)
				}
			})
		})
	}
}

func TestClientGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		away := answers(make([]int, 1000))
		c := attempt.Client{BaseURL: "http://dispatcher", ConversionID: "id", HTTP: &http.Client{Transport: &away}}
		if _, err := c.Claim(ctx, "n"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
