package embedded

import (
	"errors"
	"io"
	"sync"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3api/utils"
)

// bodies is a middleware that mends how the gateway's HTTP server reads bodies.
//
// A form would be read in whole, several times over, before the gateway sees
// it: the server has a switch, which the gateway does not hand out, so the
// first request sets it. The child makes that request itself before it is
// ready.
//
// Where a sender breaks off, the server reports the body's regular end, and the
// gateway would store what came.
func bodies() fiber.Handler {
	var first sync.Once
	return func(ctx fiber.Ctx) error {
		first.Do(func() { ctx.App().Server().DisablePreParseMultipartForm = true })
		length := ctx.Request().Header.ContentLength()
		if body := ctx.Request().BodyStream(); body != nil && length > 0 && ctx.Method() == fiber.MethodPut {
			utils.ContextKeyBodyReader.Set(ctx, &wholeBody{r: body, left: int64(length)})
		}
		return ctx.Next()
	}
}

// Not io.ErrUnexpectedEOF, which the gateway takes for a regular end as well.
var errBrokenOff = errors.New("the request's body broke off")

type wholeBody struct {
	r    io.Reader
	left int64
}

func (b *wholeBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if err == io.EOF && b.left > 0 {
		err = errBrokenOff
	}
	return n, err
}
