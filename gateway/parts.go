package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
)

type partsInput struct {
	ID   string           `path:"id" doc:"ID of the conversion"`
	Body *api.PartNumbers `doc:"Optional"`
}

type uploadOutput struct{ Body api.Upload }

// parts returns fresh URLs, to begin, continue or repeat an upload.
func (g *Gateway) parts(ctx context.Context, user account.User, in *partsInput) (*uploadOutput, error) {
	c, err := g.owned(ctx, user, in.ID)
	if err != nil {
		return nil, err
	}
	var numbers []int
	if in.Body != nil {
		numbers = in.Body.Numbers
	}
	up, err := g.resume(ctx, user, c, numbers)
	if err != nil {
		return nil, err
	}
	return &uploadOutput{Body: *up}, nil
}

// resume says how to continue the upload of c. If the store has dropped the
// upload, it begins anew.
func (g *Gateway) resume(ctx context.Context, user account.User, c conversion.Conversion, numbers []int) (*api.Upload, error) {
	switch {
	case c.State != conversion.AwaitingUpload:
		return nil, notAwaiting(c)
	case c.Object.Size == 0:
		return nil, conflict("This conversion was begun with /upload. Send the video there again.")
	case c.Upload == nil && len(numbers) > 0:
		return nil, invalid("body.numbers", "this upload has no parts; leave numbers out")
	case c.Upload == nil:
		return g.sign(ctx, c, nil, nil)
	}
	for _, n := range numbers {
		if n < 1 || n > c.Upload.Parts {
			return nil, invalid("body.numbers", fmt.Sprintf("there is no part %d; this upload has parts 1 to %d", n, c.Upload.Parts))
		}
	}
	have, err := g.have(ctx, c)
	if errors.Is(err, blob.ErrNotExist) {
		c, err = g.restart(ctx, user, c)
	}
	if err != nil {
		return nil, err
	}
	return g.sign(ctx, c, have, numbers)
}

// have lists the stored parts; ErrNotExist where there is no upload.
func (g *Gateway) have(ctx context.Context, c conversion.Conversion) ([]blob.Part, error) {
	if c.Upload.ID == "" {
		return nil, blob.ErrNotExist
	}
	return g.o.Objects.Parts(ctx, c.Object.Key, c.Upload.ID)
}

// restart begins a multipart upload in place of one that the store no longer
// has. It returns the conversion with the upload that counts, which may be
// another request's.
func (g *Gateway) restart(ctx context.Context, user account.User, c conversion.Conversion) (conversion.Conversion, error) {
	switch _, err := g.o.Objects.Head(ctx, c.Object.Key); {
	case err == nil:
		return c, conflict("The upload is finished. Next: POST /v1/conversions/" + c.ID + "/complete.")
	case !errors.Is(err, blob.ErrNotExist):
		return c, err
	}
	lost := c.Upload.ID
	id, err := g.o.Objects.CreateUpload(ctx, c.Object.Key)
	if err != nil {
		return c, err
	}
	written := false
	c, err = g.transition(ctx, user, c.ID, func(c *conversion.Conversion) error {
		err := c.RestartUpload(lost, id, g.o.Now())
		written = err == nil // otherwise another request began an upload, or none is wanted
		return err
	})
	if err != nil || !written {
		g.abort(ctx, c.Object.Key, id)
	}
	if errors.Is(err, conversion.ErrState) {
		err = notAwaiting(c)
	}
	return c, err
}

// complete takes the client's word that everything is sent, and checks it.
func (g *Gateway) complete(ctx context.Context, user account.User, in *idInput) (*conversionOutput, error) {
	c, err := g.owned(ctx, user, in.ID)
	if err != nil {
		return nil, err
	}
	switch c.State {
	case conversion.AwaitingUpload, conversion.Expired:
	case conversion.Canceled:
		return nil, notAwaiting(c)
	default:
		return answer(http.StatusOK, c), nil // recorded before
	}
	if c.Upload != nil && c.Upload.ID != "" {
		if err := g.join(ctx, c); err != nil {
			return nil, err
		}
	}
	object, err := g.o.Objects.Head(ctx, c.Object.Key)
	if errors.Is(err, blob.ErrNotExist) {
		return nil, incomplete("The video is not uploaded yet. Upload it first.")
	}
	if err != nil {
		return nil, err
	}
	first := false
	c, err = g.transition(ctx, user, c.ID, func(c *conversion.Conversion) error {
		err := c.Uploaded(object.Record(), g.o.Now())
		first = err == nil // otherwise a notification was faster
		return err
	})
	if err != nil {
		return nil, err
	}
	if first {
		g.completed(ctx)
	}
	return answer(http.StatusOK, c), nil
}

// join completes a multipart upload if all its parts are there. If the store
// does not know the upload, it was completed or dropped before; join does
// nothing then, and the object shows which of the two.
func (g *Gateway) join(ctx context.Context, c conversion.Conversion) error {
	have, err := g.o.Objects.Parts(ctx, c.Object.Key, c.Upload.ID)
	if errors.Is(err, blob.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if wrong := wrongParts(c, have); len(wrong) > 0 {
		return incomplete("These parts are missing or have the wrong size: "+ranges(wrong)+". Upload them again.",
			api.Field{Location: "parts", Message: ranges(wrong)})
	}
	_, err = g.o.Objects.CompleteUpload(ctx, c.Object.Key, c.Upload.ID, have)
	switch {
	case errors.Is(err, blob.ErrNotExist): // another request was faster
		return nil
	case errors.Is(err, blob.ErrInvalid):
		return incomplete("The object store could not join the parts. Upload them again.")
	}
	return err
}

// wrongParts returns the numbers of parts that are missing or have a wrong
// size.
func wrongParts(c conversion.Conversion, have []blob.Part) []int {
	sizes := map[int]int64{}
	for _, p := range have {
		sizes[p.Number] = p.Size
	}
	var wrong []int
	for n := 1; n <= c.Upload.Parts; n++ {
		if got, ok := sizes[n]; !ok || got != partLength(c, n) {
			wrong = append(wrong, n)
		}
	}
	return wrong
}

// ranges writes ascending numbers in the form "1, 4–9", at most twenty of them.
func ranges(numbers []int) string {
	var out []string
	for i := 0; i < len(numbers); {
		if len(out) == 20 {
			return strings.Join(out, ", ") + fmt.Sprintf(" and %d others", len(numbers)-i)
		}
		end := i
		for end+1 < len(numbers) && numbers[end+1] == numbers[end]+1 {
			end++
		}
		if end == i {
			out = append(out, fmt.Sprint(numbers[i]))
		} else {
			out = append(out, fmt.Sprintf("%d–%d", numbers[i], numbers[end]))
		}
		i = end + 1
	}
	return strings.Join(out, ", ")
}

func incomplete(detail string, fields ...api.Field) error {
	return refuse(http.StatusConflict, "upload_incomplete", detail, fields...)
}

func notAwaiting(c conversion.Conversion) error {
	return conflict(isNow(c) + " It does not take an upload. To upload the video, create a new conversion.")
}
