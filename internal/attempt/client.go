package attempt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tonearm/internal/retry"
)

// Errors after which a further try cannot help.
var (
	// ErrStale: the attempt is no longer the current one, or another process
	// claimed it.
	ErrStale = errors.New("attempt: not the current one")
	// ErrRefused: the dispatcher understood the call and will never take it.
	ErrRefused = errors.New("attempt: refused by the dispatcher")
)

// Times of a Client.
const (
	callTimeout   = 30 * time.Second // of one try
	reportTimeout = 10 * time.Second // of one try to report progress; two must fit into a lease
	longestWait   = 10 * time.Second // between two tries
	maxAnswer     = 1 << 20          // bytes
)

// Client makes the three calls of an attempt. While a dispatcher is away, each
// call is repeated with growing, jittered pauses as long as its context lives;
// only ErrToken, ErrStale and ErrRefused end it earlier. All calls are safe to
// repeat.
type Client struct {
	BaseURL      string // of the dispatcher
	ConversionID string
	Token        string
	Launch       string       // id of the launch, for Claim; may be ''
	HTTP         *http.Client // http.DefaultClient where nil
	Retrying     func(error)  // called before each further try; may be nil
}

// Claim asks for the assignment. nonce belongs to this process alone, which
// makes the call safe to repeat.
func (c *Client) Claim(ctx context.Context, nonce string) (Assignment, error) {
	var a Assignment
	err := c.call(ctx, "claim", Claim{Nonce: nonce, Launch: c.Launch}, &a)
	return a, err
}

// Progress reports how far the attempt is.
func (c *Client) Progress(ctx context.Context, p Progress) (ProgressReply, error) {
	var g ProgressReply
	err := c.call(ctx, "progress", p, &g)
	return g, err
}

// Result reports the outcome.
func (c *Client) Result(ctx context.Context, r Result) (ResultReply, error) {
	var t ResultReply
	err := c.call(ctx, "result", r, &t)
	return t, err
}

func (c *Client) call(ctx context.Context, verb string, body, answer any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	timeout := callTimeout
	if verb == "progress" {
		timeout = reportTimeout
	}
	address := strings.TrimSuffix(c.BaseURL, "/") + "/attempts/" + url.PathEscape(c.ConversionID) + "/" + verb
	return retry.Do(ctx, retry.Policy{
		Initial: 100 * time.Millisecond, Max: longestWait / 2, Jitter: 1,
		Before: func(err error, _ time.Duration) {
			if c.Retrying != nil {
				c.Retrying(err)
			}
		},
	}, func(ctx context.Context) error {
		if err := c.try(ctx, timeout, address, content, answer); err != nil {
			return fmt.Errorf("%s: %w", verb, err)
		}
		return nil
	})
}

// try makes the call once.
func (c *Client) try(ctx context.Context, timeout time.Duration, address string, content []byte, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(content))
	if err != nil {
		return retry.Permanent(fmt.Errorf("%w: %w", ErrRefused, err))
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	req.Header.Set("Content-Type", "application/json")
	hc := c.HTTP
	if hc == nil {
		hc = http.DefaultClient
	}
	resp, err := hc.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch s := resp.StatusCode; {
	case s == http.StatusOK:
		if err := json.Unmarshal(b, answer); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		return nil
	case s == http.StatusUnauthorized:
		return retry.Permanent(ErrToken)
	case s == http.StatusConflict:
		return retry.Permanent(ErrStale)
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusTooManyRequests, s >= 500:
		wait := min(retry.AfterHeader(resp.Header), longestWait)
		return retry.After(fmt.Errorf("the dispatcher answered %d: %s", s, problem(b)), wait)
	default:
		return retry.Permanent(fmt.Errorf("%w: it answered %d: %s", ErrRefused, s, problem(b)))
	}
}

// problem is what a problem document says.
func problem(b []byte) string {
	var p struct{ Title, Detail, Code string }
	if json.Unmarshal(b, &p) != nil {
		return "no problem document"
	}
	return strings.TrimSpace(p.Code + " " + p.Title + " " + p.Detail)
}
