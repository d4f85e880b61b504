package gateway

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
	"tonearm/internal/printable"
	"tonearm/internal/quota"
	"tonearm/internal/service"
)

// describe returns what the owner of c may know about it.
func describe(c conversion.Conversion) api.Conversion {
	a := api.Conversion{
		ID: c.ID, State: c.State, Revision: c.Revision, Filename: c.Filename, Size: c.Object.Size, Sent: c.Sent,
		Class: c.Class, Fallback: c.Fallback, Waiting: c.Waiting, Options: c.Options, Notify: cmp.Or(c.Notify, conversion.NotifyEmail),
		Attempt: c.Attempt, Source: c.Source, Error: c.Error,
		CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
	}
	if c.State == conversion.AwaitingUpload {
		a.ExpiresAt = new(c.ExpiresAt)
	}
	if c.State == conversion.Failed && c.Error != nil {
		a.Error = &conversion.Failure{Code: c.Error.Code, Message: c.Error.Message + " " + c.Advice("")}
	}
	if c.State == conversion.Running {
		a.Progress = new(c.Progress)
	}
	if c.State == conversion.Done {
		mp3 := describeMP3(c)
		a.MP3 = &mp3
	}
	if !c.FinishedAt.IsZero() {
		a.FinishedAt = new(c.FinishedAt)
	}
	return a
}

// checkOwner returns conversion.ErrNotFound for another user's conversion, so
// that the answer is the same as for one that does not exist.
func checkOwner(c conversion.Conversion, user account.User) error {
	if c.OwnerID != user.ID || c.State == conversion.Deleted {
		return conversion.ErrNotFound
	}
	return nil
}

// isID reports whether s has the form of an id. Nothing else need reach a
// store.
func isID(s string) bool {
	return len(s) == 36 && uuid.Validate(s) == nil
}

// owned returns the user's conversion.
func (g *Gateway) owned(ctx context.Context, user account.User, id string) (conversion.Conversion, error) {
	if !isID(id) {
		return conversion.Conversion{}, conversion.ErrNotFound
	}
	c, err := g.o.Records.ByID(ctx, id)
	if err != nil {
		return c, err
	}
	return c, checkOwner(c, user)
}

// transition applies change to the user's conversion.
func (g *Gateway) transition(ctx context.Context, user account.User, id string, change func(*conversion.Conversion) error) (conversion.Conversion, error) {
	if !isID(id) {
		return conversion.Conversion{}, conversion.ErrNotFound
	}
	var before conversion.State
	c, err := g.outbox.Update(ctx, id, func(c *conversion.Conversion) error {
		if err := checkOwner(*c, user); err != nil {
			return err
		}
		before = c.State
		return change(c)
	})
	if errors.Is(err, conversion.ErrNewerFormat) && checkOwner(c, user) != nil {
		err = conversion.ErrNotFound // the check above was not called
	}
	if err == nil && c.State != before {
		g.o.Log.Info("conversion changed", "conversion_id", id, "before", before, "state", c.State)
	}
	return c, err
}

type idInput struct {
	ID string `path:"id" doc:"ID of the conversion"`
}

type conversionOutput struct {
	Status       int
	Location     string `header:"Location"`
	ETag         string `header:"ETag"`
	CacheControl string `header:"Cache-Control"`
	Body         api.Conversion
}

func answer(status int, c conversion.Conversion) *conversionOutput {
	return &conversionOutput{Status: status, ETag: fmt.Sprintf(`"%d"`, c.Revision), Body: describe(c)}
}

type getInput struct {
	ID          string `path:"id" doc:"ID of the conversion"`
	Wait        int    `query:"wait" minimum:"0" maximum:"60" doc:"Wait up to this many seconds for the conversion to end"`
	Revision    int64  `query:"revision" minimum:"-1" default:"-1" doc:"With wait: also answer as soon as the revision is higher than this one"`
	IfNoneMatch string `header:"If-None-Match" doc:"The ETag of an earlier answer. If nothing has changed, the answer is 304"`
}

func (g *Gateway) get(ctx context.Context, user account.User, in *getInput) (*conversionOutput, error) {
	if in.Wait > 0 {
		leave, err := g.waiters.Enter(user.ID, g.quotaOf(user, account.QuotaWaiters))
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	c, err := g.await(ctx, user, in.ID, func(c conversion.Conversion) bool {
		return in.Wait == 0 || c.State.Terminal() || in.Revision >= 0 && c.Revision > in.Revision
	}, time.Duration(in.Wait)*time.Second)
	if err != nil {
		return nil, err
	}
	out := answer(http.StatusOK, c)
	out.CacheControl = "private, no-cache" // may be stored, but must be validated with its ETag
	for tag := range strings.SplitSeq(in.IfNoneMatch, ",") {
		if strings.TrimPrefix(strings.TrimSpace(tag), "W/") == out.ETag {
			out.Status = http.StatusNotModified
		}
	}
	return out, nil
}

// await returns the user's conversion once enough says so, and at the latest
// after wait. It subscribes before it reads, so that no change is missed
// between the two. A slow poll makes up for lost wake-ups.
func (g *Gateway) await(ctx context.Context, user account.User, id string, enough func(conversion.Conversion) bool, wait time.Duration) (conversion.Conversion, error) {
	var changed <-chan struct{}
	if wait > 0 && isID(id) {
		var cancel func()
		if changed, cancel = g.subscribe(ctx, id); cancel != nil {
			defer cancel()
		}
	}
	due := time.NewTimer(wait)
	defer due.Stop()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for last := false; ; {
		c, err := g.ownedSoon(ctx, user, id)
		if err != nil || last || enough(c) {
			return c, err
		}
		select {
		case <-changed:
		case <-poll.C:
		case <-due.C:
			last = true
		case <-service.Stopping(ctx):
			last = true
		case <-ctx.Done():
			return c, ctx.Err()
		}
	}
}

func (g *Gateway) ownedSoon(ctx context.Context, user account.User, id string) (conversion.Conversion, error) {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	return g.owned(ctx, user, id)
}

// subscribe returns nil, nil if the queue cannot be reached: await then only
// polls.
func (g *Gateway) subscribe(ctx context.Context, id string) (<-chan struct{}, func()) {
	ctx, stop := context.WithTimeout(ctx, pollInterval)
	defer stop()
	changed, cancel, err := g.o.Queue.Subscribe(ctx, id)
	if err != nil {
		g.outage.Warn("could not subscribe to changes; asking the records instead", "conversion_id", id, "error", err)
		return nil, nil
	}
	return changed, cancel
}

type listInput struct {
	PageInput
	State []conversion.State `query:"state" enum:"awaiting_upload,queued,running,done,failed,canceled,expired" doc:"Only conversions in these states, separated by commas"`
}

// PageInput is exported because huma ignores embedded fields that are not.
type PageInput struct {
	Cursor string `query:"cursor" maxLength:"200" doc:"The value of next in the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Entries in one page"`
}

type listOutput struct{ Body api.Conversions }

func (g *Gateway) list(ctx context.Context, user account.User, in *listInput) (*listOutput, error) {
	page, next, err := g.page(ctx, user, in.PageInput, in.State)
	if err != nil {
		return nil, err
	}
	out := &listOutput{Body: api.Conversions{Conversions: []api.Conversion{}, Next: next}}
	for _, c := range page {
		out.Body.Conversions = append(out.Body.Conversions, describe(c))
	}
	return out, nil
}

// page returns one page of the user's conversions and the cursor of the next.
func (g *Gateway) page(ctx context.Context, user account.User, in PageInput, states []conversion.State) ([]conversion.Conversion, string, error) {
	before, err := base64.RawURLEncoding.DecodeString(in.Cursor)
	if err != nil || len(before) > 0 && !isID(string(before)) {
		return nil, "", invalid("query.cursor", "the cursor is unknown; use the value of next in the page before")
	}
	page, err := g.o.Records.List(ctx, conversion.Query{
		OwnerID: user.ID, States: states, Before: string(before), Limit: in.Limit + 1,
	})
	if err != nil || len(page) <= in.Limit {
		return page, "", err
	}
	page = page[:in.Limit]
	return page, base64.RawURLEncoding.EncodeToString([]byte(page[in.Limit-1].ID)), nil
}

func (g *Gateway) cancel(ctx context.Context, user account.User, in *idInput) (*conversionOutput, error) {
	c, err := g.transition(ctx, user, in.ID, func(c *conversion.Conversion) error { return c.Cancel(g.o.Now()) })
	if errors.Is(err, conversion.ErrState) {
		return nil, conflict(isNow(c) + " There is nothing to cancel.")
	}
	if err != nil {
		return nil, err
	}
	return answer(http.StatusOK, c), nil
}

// retry starts over from the uploaded source. If there never was a good one,
// the conversion waits for an upload again.
func (g *Gateway) retry(ctx context.Context, user account.User, in *idInput) (*conversionOutput, error) {
	c, err := g.owned(ctx, user, in.ID)
	if err != nil {
		return nil, err
	}
	if c.Format > conversion.Format { // check this before anything happens to its object
		return nil, conversion.ErrNewerFormat
	}
	if c.State != conversion.Failed && c.State != conversion.Canceled && c.State != conversion.Expired {
		return nil, cannotRetry(c)
	}
	object, err := g.o.Objects.Head(ctx, c.Object.Key)
	there := err == nil
	if err != nil && !errors.Is(err, blob.ErrNotExist) {
		return nil, err
	}
	uploaded := c.Object.ETag != ""
	missing := !there || uploaded && (c.SourceGone || object.ETag != c.Object.ETag)
	if missing && (uploaded || c.Object.Size == 0) { // a presigned URL needs a known size
		return nil, refuse(http.StatusConflict, string(conversion.SourceMissing.Code),
			conversion.SourceMissing.Message+" Upload it again as a new conversion.")
	}
	ask := quota.Ask{Queued: 1}
	if !uploaded {
		ask = quota.Ask{Uploads: 1, Bytes: c.Object.Size}
	}
	room, err := g.meter.Admit(ctx, user, ask)
	if err != nil {
		return nil, err
	}
	made := false
	defer func() { room.Done(made) }()
	good := there && object.Size > 0 && (c.Object.Size == 0 || object.Size == c.Object.Size)
	if !uploaded && there && !good {
		// The refused object is in the way of a new upload, which must not
		// overwrite anything.
		if err := g.o.Objects.Delete(ctx, c.Object.Key); err != nil {
			return nil, err
		}
	}
	c, err = g.transition(ctx, user, c.ID, func(c *conversion.Conversion) error {
		if err := c.Retry(g.o.UploadWindow, g.o.Now()); err != nil || uploaded || !good {
			return err
		}
		return c.Uploaded(object.Record(), g.o.Now())
	})
	if errors.Is(err, conversion.ErrState) {
		return nil, cannotRetry(c)
	}
	if err != nil {
		return nil, err
	}
	made = true
	return answer(http.StatusOK, c), nil
}

// isNow says which state c is in, in a sentence.
func isNow(c conversion.Conversion) string {
	switch c.State {
	case conversion.AwaitingUpload:
		return "This conversion is waiting for its upload."
	case conversion.Failed:
		return "This conversion has failed."
	case conversion.Expired:
		return "This conversion has expired."
	case conversion.Canceled:
		return "This conversion was canceled."
	}
	return "This conversion is " + string(c.State) + "."
}

func cannotRetry(c conversion.Conversion) error {
	return conflict(isNow(c) + " Only a failed, canceled or expired conversion can be started again.")
}

func (g *Gateway) remove(ctx context.Context, c caller, in *idInput) (*struct{}, error) {
	_, err := g.transition(ctx, c.User, in.ID, func(c *conversion.Conversion) error { return c.Delete(g.o.Now()) })
	if err == nil {
		g.audit(ctx, c, account.ActionRemove, in.ID, audited)
	}
	return nil, err
}

// checkName refuses names that no file can have. Bidirectional controls, which names
// in some scripts have, are removed from the record: see conversion.New.
func checkName(name string) error {
	if strings.TrimSpace(name) == "" || strings.ContainsFunc(name, printable.Control) {
		return invalid("body.filename", "a file name needs at least one visible character and must have no control characters")
	}
	return nil
}
