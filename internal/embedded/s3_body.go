package embedded

import (
	"errors"
	"io"
	"sync"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3api/utils"
)

// bodies is a middleware that corrects how the gateway's HTTP server reads
// bodies.
//
// Without it the server would read a form as a whole, several times over,
// before the gateway sees it. The server has a switch for that, which the
// gateway does not expose, so the first request sets it. The child makes that
// request itself before it is ready.
//
// And if a sender breaks off, the server reports the regular end of the body,
// and the gateway would store what came.
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

// Not io.ErrUnexpectedEOF, because the gateway takes that for a regular end
// too.
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
