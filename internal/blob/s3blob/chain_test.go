package s3blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"tonearm/internal/blob"
)

// sessions stands in for the SDK's chain, and counts what it gives.
type sessions struct {
	life  time.Duration
	err   error
	given int
	log   bytes.Buffer
}

func (f *sessions) store(t *testing.T) *Store {
	t.Helper()
	s, err := New(Options{Endpoint: "http://127.0.0.1:1", Bucket: "test", Log: slog.New(slog.NewTextHandler(&f.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.chain.load = func(ctx context.Context) (aws.Credentials, error) {
		if err := ctx.Err(); err != nil {
			return aws.Credentials{}, err
		}
		if f.err != nil {
			return aws.Credentials{}, f.err
		}
		f.given++
		return aws.Credentials{
			AccessKeyID: "key", SecretAccessKey: "secret", SessionToken: fmt.Sprint("token", f.given), Source: "test",
			CanExpire: f.life != 0, Expires: time.Now().Add(f.life),
		}, nil
	}
	return s
}

// signed presigns a URL. It returns how long the URL lives, as the request says
// and as the URL itself says, and the session that it belongs to.
func signed(t *testing.T, s *Store, expiry time.Duration) (life time.Duration, inURL, token string) {
	t.Helper()
	r, err := s.PresignGet(t.Context(), "mp3s/u/c/1.mp3", "", "", expiry, blob.Public)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	return time.Until(r.ExpiresAt), u.Query().Get("X-Amz-Expires"), u.Query().Get("X-Amz-Security-Token")
}

func TestURLEndsWithSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &sessions{life: time.Hour}
		s := f.store(t)
		for _, tt := range []struct {
			after, asked, life time.Duration
			inURL, token       string
		}{
			{0, 2 * time.Hour, time.Hour, "3600", "token1"},
			{0, 15 * time.Minute, 15 * time.Minute, "900", "token1"},
			// Renewed because of a URL's life, but not at each call.
			{renewPause - time.Second, 2 * time.Hour, time.Hour - renewPause + time.Second, "3301", "token1"},
			{time.Second, 2 * time.Hour, time.Hour, "3600", "token2"},
			{time.Second / 2, 2 * time.Hour, time.Hour - time.Second, "3599", "token2"},
		} {
			time.Sleep(tt.after)
			if life, inURL, token := signed(t, s, tt.asked); life != tt.life || inURL != tt.inURL || token != tt.token {
				t.Errorf("%+v: got %s, %s, %s", tt, life, inURL, token)
			}
		}
	})
}

func TestRenewedBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &sessions{life: time.Hour}
		s := f.store(t)
		time.Sleep(time.Minute)
		if f.given != 0 {
			t.Error("New asked for credentials")
		}
		for _, tt := range []struct {
			after time.Duration
			given int
		}{{0, 1}, {f.life - renewBefore, 1}, {time.Second, 2}, {renewPause, 2}} {
			time.Sleep(tt.after)
			if _, _, _ = signed(t, s, time.Minute); f.given != tt.given {
				t.Errorf("%+v: got %d", tt, f.given)
			}
		}
	})
}

func TestRenewalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &sessions{life: time.Hour}
		s := f.store(t)
		signed(t, s, time.Hour)
		time.Sleep(f.life - time.Minute)
		f.err = errors.New("no route to https://sts.example/?secret")
		if life, _, token := signed(t, s, time.Hour); life != time.Minute || token != "token1" {
			t.Errorf("got %s, %s: what lives still serves", life, token)
		}
		if text := f.log.String(); strings.Count(text, "could not renew the credentials") != 1 || strings.Contains(text, "secret") {
			t.Errorf("got log %s", text)
		}
		time.Sleep(time.Minute)
		if _, err := s.PresignGet(t.Context(), "k", "", "", time.Hour, blob.Public); err == nil || !strings.Contains(err.Error(), "no route") {
			t.Errorf("after the end: got %v", err)
		}
		f.err = nil
		if _, err := s.PresignGet(t.Context(), "k", "", "", time.Hour, blob.Public); err == nil {
			t.Error("those who waited for a failure make it again")
		}
		time.Sleep(failPause)
		if life, _, token := signed(t, s, time.Hour); life != time.Hour || token != "token2" {
			t.Errorf("got %s, %s", life, token)
		}
	})
}

// If one caller's context ends, the next caller is not affected.
func TestCanceledLoad(t *testing.T) {
	s := (&sessions{life: time.Hour}).store(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.PresignGet(ctx, "k", "", "", time.Hour, blob.Public); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	signed(t, s, time.Hour)
}

func TestEndedCredentials(t *testing.T) {
	s := (&sessions{life: -time.Minute}).store(t)
	if _, err := s.creds.GetWithContext(&credentials.CredContext{Context: t.Context()}); err == nil || !strings.Contains(err.Error(), "ended at") {
		t.Errorf("got %v", err)
	}
}

func TestLastingCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &sessions{}
		s := f.store(t)
		for range 3 {
			if life, _, _ := signed(t, s, 2*time.Hour); life != 2*time.Hour || f.given != 1 {
				t.Errorf("got %s, loaded %d times", life, f.given)
			}
			time.Sleep(24 * time.Hour)
		}
	})
}
