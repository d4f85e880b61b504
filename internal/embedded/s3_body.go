package embedded

import (
	"errors"
	"io"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3api/utils"
)

// wholeBodies has the gateway refuse an object or a part whose sender broke
// off: its HTTP server reports the regular end of the body then, and the
// gateway would store what came.
func wholeBodies(ctx fiber.Ctx) error {
	length := ctx.Request().Header.ContentLength()
	if body := ctx.Request().BodyStream(); body != nil && length > 0 && ctx.Method() == fiber.MethodPut {
		utils.ContextKeyBodyReader.Set(ctx, &wholeBody{r: body, left: int64(length)})
	}
	return ctx.Next()
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
