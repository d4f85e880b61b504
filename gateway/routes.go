package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"tonearm/internal/account"
	"tonearm/internal/api"
)

// How long the answer to a request may take. While a store is down, the answer
// comes within quick.
const (
	quick        = 5 * time.Second
	hashing      = 10 * time.Second // a password, perhaps after others in the queue
	joining      = 2 * time.Minute  // the parts of a large upload
	waiting      = 75 * time.Second // ?wait=60 and a read
	pollInterval = 5 * time.Second  // in case wake-ups are lost
)

// routes declares everything that the gateway serves.
func (g *Gateway) routes() error {
	g.api = humago.New(g.mux, g.config())
	registry := g.api.OpenAPI().Components.Schemas
	g.options = describeOptions(registry)
	g.problems = &huma.Response{
		Description: "A problem document (RFC 9457). code names the kind of problem and stays the same in later versions",
		Content: map[string]*huma.MediaType{"application/problem+json": {
			Schema: registry.Schema(reflect.TypeFor[api.Problem](), true, "Problem"),
		}},
	}
	const (
		get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete

		accounts, conversions, mp3s, plain = "Accounts", "Conversions", "MP3s", "Plain forms"
	)

	forAnyone(g, hashing, op(post, "/v1/users", accounts, "register", "Make an account", 202), g.register)
	forMaybe(g, hashing, op(post, "/v1/users/confirm", accounts, "confirm", "Prove your address, by the link in a mail", 200), g.confirm)
	forAnyone(g, hashing, op(post, "/v1/users/reset", accounts, "request-reset", "Get a mail to set your password anew", 202), g.requestReset)
	forAnyone(g, hashing, op(post, "/v1/users/password", accounts, "set-password", "Set your password anew, by the link in a mail", 200), g.setPassword)
	forMaybe(g, hashing, op(post, "/v1/users/email", accounts, "set-email", "Prove your new address, by the link in a mail", 200), g.setEmail)

	forAnyone(g, hashing, op(post, "/v1/session", accounts, "begin-session", "Log in with a cookie, for pages", 200), g.logIn)
	forAnyone(g, quick, op(del, "/v1/session", accounts, "end-session", "Remove the cookie", 204), g.logOut)
	forSession(g, quick, op(post, "/v1/session/refresh", accounts, "refresh-session", "Renew a session, up to 30 days after the password", 200), g.refresh)
	forSession(g, quick, op(del, "/v1/sessions", accounts, "end-sessions", "Log out everywhere", 204), g.logOutEverywhere)

	forCaller(g, quick, account.ScopeRead, op(get, "/v1/me", accounts, "me", "Get your account, its limits and its use", 200), g.me)
	forSession(g, quick, op(patch, "/v1/me", accounts, "change-me", "Change the language of mails, and which you get", 200), g.changeMe)
	forSession(g, hashing, op(del, "/v1/me", accounts, "delete-me", "Delete your account and all that belongs to it", 202), g.deleteMe)
	forSession(g, hashing, op(put, "/v1/me/password", accounts, "change-password", "Change your password", 200), g.changePassword)
	forSession(g, hashing, op(put, "/v1/me/email", accounts, "change-email", "Change your address", 202), g.requestEmail)
	forSession(g, quick, op(post, "/v1/me/confirmation", accounts, "request-confirmation", "Get the mail again that proves your address", 202), g.requestConfirmation)

	forSession(g, hashing, op(post, "/v1/keys", accounts, "create-key", "Make an API key", 201), g.createKey)
	forSession(g, quick, op(get, "/v1/keys", accounts, "list-keys", "List your API keys", 200), g.listKeys)
	forSession(g, quick, op(del, "/v1/keys/{key_id}", accounts, "revoke-key", "Revoke an API key", 204), g.revokeKey)

	forCaller(g, quick, account.ScopeAdmin, op(get, "/v1/admin/audit", accounts, "audit", "Read the audit log, as an operator", 200), g.events)

	forAnyone(g, quick, op(get, "/v1/presets", conversions, "list-presets", "List the presets", 200), g.presets)
	forUser(g, quick, op(post, "/v1/conversions", conversions, "create", "Begin a conversion and get the upload URL", 201), g.create)
	forUser(g, quick, op(get, "/v1/conversions", conversions, "list", "List your conversions, newest first", 200), g.list)
	forUser(g, waiting, op(get, "/v1/conversions/{id}", conversions, "get", "Get a conversion, or wait until it ends", 200), g.get)
	forCaller(g, quick, account.ScopeConvert, op(del, "/v1/conversions/{id}", conversions, "delete", "Delete a conversion, its video and its MP3", 204), g.remove)
	forUser(g, quick, op(post, "/v1/conversions/{id}/parts", conversions, "parts", "Get fresh upload URLs", 200), g.parts)
	forUser(g, joining, op(post, "/v1/conversions/{id}/complete", conversions, "complete", "Finish the upload", 200), g.complete)
	forUser(g, quick, op(post, "/v1/conversions/{id}/cancel", conversions, "cancel", "Cancel a conversion", 200), g.cancel)
	forUser(g, quick, op(post, "/v1/conversions/{id}/retry", conversions, "retry", "Start a failed, canceled or expired conversion again", 200), g.retry)

	forUser(g, quick, op(get, "/v1/mp3s", mp3s, "list-mp3s", "List your MP3s, newest first", 200), g.mp3s)
	forUser(g, quick, op(get, "/v1/mp3s/{mp3_id}", mp3s, "get-mp3", "Get an MP3's metadata", 200), g.mp3)
	forUser(g, quick, op(get, "/v1/mp3s/{mp3_id}/download", mp3s, "download-mp3", "Download an MP3 by a redirect to a presigned link", 302), g.mp3Download)

	g.form(loginOperation(op(post, "/login", plain, "login", "Log in with e-mail address and password, get a token", 200)), g.login)
	g.form(uploadOperation(op(post, "/upload", plain, "upload", "Upload a video through the gateway", 201)), g.upload)
	g.form(uploadOperation(op(put, "/upload", plain, "put-upload", "Upload a video with curl -T", 201)), g.upload)
	g.form(uploadOperation(op(post, "/upload/{filename}", plain, "upload-named", "Upload a video under a name", 201)), g.upload)
	g.form(uploadOperation(op(put, "/upload/{filename}", plain, "put-upload-named", "Upload a video with curl -T VIDEO URL/upload/", 201)), g.upload)
	g.form(downloadOperation(op(get, "/download", plain, "download", "Download an MP3 by a redirect to a presigned link", 302)), g.download)

	g.handle("GET /.well-known/jwks.json", func(w http.ResponseWriter, r *http.Request) error {
		return g.document(w, g.o.Tokens.JWKS())
	})
	g.handle("GET /openapi.json", func(w http.ResponseWriter, r *http.Request) error { return g.document(w, g.openAPI) })
	g.handle("GET /account/{kind}", g.linkOpened)
	g.handle("POST /account/{kind}", g.linkUsed)
	g.handle("GET /docs", g.docs)
	g.handle("GET /docs/{file}", g.docs)
	g.handle("GET /{$}", func(w http.ResponseWriter, r *http.Request) error {
		http.Redirect(w, r, "docs", http.StatusFound)
		return nil
	})

	delete(registry.Map(), "ErrorModel") // huma's own, which is never sent
	var err error
	g.openAPI, err = json.Marshal(g.api.OpenAPI())
	return err
}

func (g *Gateway) config() huma.Config {
	c := huma.DefaultConfig("Tonearm", "1")
	c.CreateHooks = nil // no links to schemas in answers
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.Transformers = []huma.Transformer{translate}
	format := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}
	c.Formats = map[string]huma.Format{"application/json": format, "json": format}
	c.Info.Description = "Tonearm turns videos into MP3s. Begin a conversion, upload the video to the URL in the answer, " +
		"wait for the mail or with ?wait=, and download the MP3. Times are RFC 3339 in UTC, durations are in seconds, sizes in bytes."
	c.Servers = []*huma.Server{{URL: g.o.PublicURL}}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "An access token, or an API key"},
		"cookie": {Type: "apiKey", In: "cookie", Name: g.cookieName()},
		"basic":  {Type: "http", Scheme: "basic"},
	}
	return c
}

func op(method, path, tag, id, summary string, status int) huma.Operation {
	return huma.Operation{Method: method, Path: path, Tags: []string{tag}, OperationID: id, Summary: summary, DefaultStatus: status}
}

// forAnyone adds a JSON route for everybody; its answer takes at most limit.
func forAnyone[I, O any](g *Gateway, limit time.Duration, op huma.Operation, handle func(context.Context, *I) (*O, error)) {
	op.MaxBodyBytes, op.BodyReadTimeout = -1, -1 // readBody has limited both
	op.Responses = map[string]*huma.Response{"default": g.problems}
	op.Middlewares = append(op.Middlewares, func(c huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(c)
		if err := g.readBody(w, r); err != nil {
			g.fail(w, r, err)
			return
		}
		next(huma.WithValue(c, hostKey{}, r.Host))
	})
	huma.Register(g.api, op, func(request context.Context, in *I) (*O, error) {
		ctx, cancel := context.WithTimeout(request, limit)
		defer cancel()
		out, err := handle(ctx, in)
		if err != nil {
			return nil, g.problem(request, err)
		}
		return out, nil
	})
}

type hostKey struct{}

// host is the name of the server that the request of a JSON route was sent to,
// perhaps with a port.
func host(ctx context.Context) string { s, _ := ctx.Value(hostKey{}).(string); return s }

type callerKey struct{}

// forCaller adds a JSON route for users with a session, or with an API key that
// is good for scope.
func forCaller[I, O any](g *Gateway, limit time.Duration, scope account.Scope, op huma.Operation, handle func(context.Context, caller, *I) (*O, error)) {
	op.Security = []map[string][]string{{"bearer": {}}, {"cookie": {}}}
	op.Middlewares = huma.Middlewares{func(c huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(c)
		who, err := g.identify(r, scope)
		if err != nil {
			g.fail(w, r, err)
			return
		}
		next(huma.WithValue(c, callerKey{}, who))
	}}
	forAnyone(g, limit, op, func(ctx context.Context, in *I) (*O, error) {
		return handle(ctx, ctx.Value(callerKey{}).(caller), in)
	})
}

// forSession adds a JSON route for users with a session. No API key is good for
// it: a key cannot make keys, nor take the account.
func forSession[I, O any](g *Gateway, limit time.Duration, op huma.Operation, handle func(context.Context, caller, *I) (*O, error)) {
	forCaller(g, limit, sessionOnly, op, handle)
}

// forMaybe adds a JSON route for everybody; its handler learns who is logged in.
func forMaybe[I, O any](g *Gateway, limit time.Duration, op huma.Operation, handle func(context.Context, caller, *I) (*O, error)) {
	op.Middlewares = huma.Middlewares{func(c huma.Context, next func(huma.Context)) {
		r, _ := humago.Unwrap(c)
		who, err := g.identify(r, sessionOnly)
		if err != nil {
			who = caller{network: account.Network(r.Context())}
		}
		next(huma.WithValue(c, callerKey{}, who))
	}}
	forAnyone(g, limit, op, func(ctx context.Context, in *I) (*O, error) {
		return handle(ctx, ctx.Value(callerKey{}).(caller), in)
	})
}

// forUser adds a JSON route for users: GET needs the scope read, everything else
// convert. The handler may read or change only what belongs to the user; it must
// use owned, transition and ownResult for that.
func forUser[I, O any](g *Gateway, limit time.Duration, op huma.Operation, handle func(context.Context, account.User, *I) (*O, error)) {
	forCaller(g, limit, scopeOf(op.Method), op, func(ctx context.Context, c caller, in *I) (*O, error) { return handle(ctx, c.User, in) })
}

// form adds a route that reads and writes more than JSON, and describes it.
func (g *Gateway) form(op huma.Operation, handle func(http.ResponseWriter, *http.Request) error) {
	op.Responses["default"] = g.problems
	g.api.OpenAPI().AddOperation(&op)
	g.handle(op.Method+" "+op.Path, handle)
}

// handle adds a route that the OpenAPI description leaves out.
func (g *Gateway) handle(pattern string, serve func(http.ResponseWriter, *http.Request) error) {
	g.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := serve(w, r); err != nil {
			g.fail(w, r, err)
		}
	})
}

func (g *Gateway) document(w http.ResponseWriter, body []byte) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(body)
	return nil
}

// routeMux remembers its patterns, so that a test can check that each has a
// rule.
type routeMux struct {
	*http.ServeMux
	patterns []string
}

func (m *routeMux) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	m.patterns = append(m.patterns, pattern)
	m.ServeMux.HandleFunc(pattern, handler)
}
