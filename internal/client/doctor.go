package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tonearm/internal/api"
)

// Clock returns the server's time, to the second.
func (c *Client) Clock(ctx context.Context) (time.Time, error) {
	var at time.Time
	err := c.retry(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, callLimit)
		defer cancel()
		resp, err := c.send(ctx, http.MethodGet, "/v1/presets", request{auth: func(*http.Request) {}})
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		drain(resp.Body)
		at, err = http.ParseTime(resp.Header.Get("Date"))
		return err
	})
	return at, err
}

// Put uploads a small video, of cv.Size bytes, in one request, and does not say that
// it is complete: the store has to notice that.
func (c *Client) Put(ctx context.Context, cv api.Conversion, source io.ReaderAt) error {
	if cv.Upload == nil || cv.Upload.URL == "" {
		return fmt.Errorf("the server gave no URL for the upload")
	}
	s := &sending{Client: c, id: cv.ID, size: cv.Size, source: source, progress: func(int64) {}}
	return s.whole(ctx, *cv.Upload)
}

// AllowsOrigin asks the store, as a browser does before an upload (Fetch standard,
// CORS-preflight fetch), whether pages of the origin may PUT to a presigned URL. The
// error says what it answers.
func (c *Client) AllowsOrigin(ctx context.Context, presigned, origin string) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.Stall)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodOptions, presigned, nil)
	if err != nil {
		return fmt.Errorf("the server gave a malformed URL for the upload")
	}
	req.Header.Set("Origin", origin)
	req.Header.Set("Access-Control-Request-Method", http.MethodPut)
	req.Header.Set("User-Agent", c.o.UserAgent)
	resp, err := c.http.Do(req)
	if err != nil {
		return transportError(req.URL, err)
	}
	defer resp.Body.Close()
	drain(resp.Body)
	allowed, methods := resp.Header.Get("Access-Control-Allow-Origin"), strings.Join(resp.Header.Values("Access-Control-Allow-Methods"), ",")
	if resp.StatusCode >= 300 || allowed != "*" && allowed != origin || !strings.Contains(methods, http.MethodPut) && methods != "*" {
		return fmt.Errorf("it answers %d, with the origins %q and the methods %q", resp.StatusCode, allowed, methods)
	}
	return nil
}

// Origin returns the origin of the server's own pages: that of its public URL, as its
// description says, which may be another one than this client uses.
func (c *Client) Origin(ctx context.Context) (string, error) {
	var description struct {
		Servers []struct {
			URL string `json:"url"`
		} `json:"servers"`
	}
	if err := c.call(ctx, http.MethodGet, "/openapi.json", request{out: &description, auth: func(*http.Request) {}}); err != nil {
		return "", err
	}
	if len(description.Servers) != 1 {
		return "", fmt.Errorf("the server's description names no address")
	}
	u, err := url.Parse(description.Servers[0].URL)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("the server's description names no address")
	}
	host := strings.TrimSuffix(u.Host, map[string]string{"https": ":443", "http": ":80"}[u.Scheme]) // as a browser sends it
	return strings.ToLower(u.Scheme + "://" + host), nil
}
