package embedded

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"sync"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3api/utils"

	"tonearm/internal/connection"
)

// front is what stands between clients and the gateway: limits for the slow and
// the idle, and corrections of how bodies are read.
type front struct {
	requests requests
	table    *connection.Table
	header   time.Duration
	pause    time.Duration
	gateway  *s3api.S3ApiServer
}

func newFront(config s3Config, log *slog.Logger) *front {
	told := &sync.Once{} // once in a life: a flood is no reason to fill the log
	return &front{header: config.HeaderTimeout, pause: config.BodyPause, table: connection.NewTable(config.Connections, func(from netip.Prefix) {
		told.Do(func() {
			log.Warn("refused a connection to the embedded object store: too many are open; others are refused without a line", "network", from.String())
		})
	})}
}

// attach is an option of the gateway that only remembers it.
func (f *front) attach(s *s3api.S3ApiServer) { f.gateway = s }

// setUp sets what the gateway does not expose of its HTTP server. It is called
// before the server accepts anything.
//
// Without the second line the server would read a form as a whole, several times
// over, before the gateway sees it.
func (f *front) setUp() error {
	field := reflect.ValueOf(f.gateway).Elem().FieldByName("app")
	if !field.IsValid() || field.Type() != reflect.TypeFor[*fiber.App]() {
		return errors.New("the gateway keeps its HTTP server elsewhere")
	}
	server := (*fiber.App)(field.UnsafePointer()).Server() // no other way leads there
	server.DisablePreParseMultipartForm = true
	server.ReadTimeout = f.header
	server.ReduceMemoryUsage = true // without it a connection that sends nothing gets a 500 at its end, which a client may take for the answer to its next request
	server.ConnState = func(c net.Conn, state fasthttp.ConnState) {
		switch state {
		case fasthttp.StateNew:
			f.table.Opened(c)
		case fasthttp.StateClosed, fasthttp.StateHijacked:
			f.table.Closed(c)
		case fasthttp.StateActive, fasthttp.StateIdle: // it says active before a byte has come; receive knows better
		}
	}
	return nil
}

type uploader struct{} // names the connection of a form among the values of a request

// receive is a middleware for the bodies of uploads. They may take any time while
// they come steadily, and one whose sender breaks off is no whole one: the server
// reports the regular end of the body, and the gateway would store what came.
// Everything else has as long as its header.
func (f *front) receive(ctx fiber.Ctx) error {
	conn := ctx.RequestCtx().Conn()
	f.table.Active(conn)
	// Objects are what users uploaded: a browser runs and frames none of them.
	ctx.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	ctx.Set(fiber.HeaderContentSecurityPolicy, "default-src 'none'; frame-ancestors 'none'")
	ctx.Set(fiber.HeaderReferrerPolicy, "no-referrer")
	length := ctx.Request().Header.ContentLength()
	body := ctx.Request().BodyStream()
	switch {
	case body == nil:
	case ctx.Method() == fiber.MethodPut && length > 0:
		utils.ContextKeyBodyReader.Set(ctx, &wholeBody{r: connection.NewSteady(body, conn, f.pause), left: int64(length)})
	case ctx.Method() == fiber.MethodPost:
		ctx.RequestCtx().SetUserValue(uploader{}, func(r io.Reader) io.Reader { return connection.NewSteady(r, conn, f.pause) })
	}
	return ctx.Next()
}

// steadyForm lets the file of a POST form, which the gateway reads by itself, take
// its time as well.
func steadyForm(ctx context.Context, file io.Reader) io.Reader {
	steady, ok := ctx.Value(uploader{}).(func(io.Reader) io.Reader)
	if !ok || file == nil {
		return file
	}
	if sum, ok := file.(middlewares.ChecksumReader); ok {
		return &steadySum{sum, steady(file)}
	}
	return steady(file)
}

// steadySum is what the gateway wants of a file that has a checksum.
type steadySum struct {
	middlewares.ChecksumReader
	r io.Reader
}

func (s *steadySum) Read(p []byte) (int, error) { return s.r.Read(p) }
