package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/blob"
	"tonearm/internal/conversion"
	"tonearm/internal/quota"
)

// clientGone is the status that metrics show for a request whose client did not
// wait for the answer.
const clientGone = 499

// retryAfter is how long a client should wait while a store is down.
const retryAfter = 5 * time.Second

// fullRetryAfter is the same while a store is full.
const fullRetryAfter = time.Minute

// busyRetryAfter is the same while too many of one network wait for a password to
// be checked.
const busyRetryAfter = 2 * time.Second

// problem is an answer that reports a failure.
type problem struct {
	api.Problem
	header http.Header
}

func (p *problem) Error() string             { return p.Code + ": " + p.Detail }
func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) GetHeaders() http.Header   { return p.header }
func (p *problem) ContentType(string) string { return "application/problem+json" }

func refuse(status int, code, detail string, fields ...api.Field) *problem {
	title := cmp.Or(http.StatusText(status), "Client closed request")
	return &problem{Problem: api.Problem{Title: title, Status: status, Code: code, Detail: detail, Errors: fields}}
}

func (p *problem) with(key, value string) *problem {
	if p.header == nil {
		p.header = http.Header{}
	}
	p.header.Set(key, value)
	return p
}

func (p *problem) retryIn(d time.Duration) *problem {
	return p.with("Retry-After", seconds(d))
}

// seconds rounds up.
func seconds(d time.Duration) string { return strconv.Itoa(int((d + time.Second - 1) / time.Second)) }

func invalid(location, message string) *problem {
	return refuse(http.StatusUnprocessableEntity, "invalid_request", "The request is not valid: "+message+".",
		api.Field{Location: location, Message: message})
}

func internalError(status int) *problem {
	return refuse(status, "internal", "Something went wrong on the server. Try again. If it happens again, tell the operator.")
}

func conflict(detail string) *problem { return refuse(http.StatusConflict, "conflict", detail) }

// problemOf is the only place where an error becomes a status and a code. An
// error that it does not know counts as the failure of a store.
func problemOf(err error) *problem {
	var (
		p      *problem
		option *conversion.OptionError
		large  *http.MaxBytesError
		model  *huma.ErrorModel
		quota  *quota.Exceeded
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &model):
		return problemOfHuma(model)
	case errors.As(err, &quota):
		return quotaExceeded(quota)
	case errors.As(err, &option):
		return refuse(http.StatusUnprocessableEntity, "invalid_options", "The options are not valid: "+strings.TrimPrefix(option.Error(), ": ")+".",
			api.Field{Location: strings.TrimSuffix(optionsPath+"."+option.Field, "."), Message: option.Message})
	case errors.Is(err, conversion.ErrNotFound):
		return refuse(http.StatusNotFound, "not_found", "Your account has no conversion or MP3 with this ID. To see yours: tonearm list, or GET /v1/conversions.")
	case errors.Is(err, conversion.ErrState):
		return conflict("The state of the conversion does not allow this. To see it: GET /v1/conversions/ID.")
	case errors.Is(err, conversion.ErrNewerFormat):
		return refuse(http.StatusConflict, "newer_format",
			"A newer version of Tonearm wrote this conversion. This version cannot change it. Try again when the update is finished.")
	case errors.Is(err, account.ErrCredentials):
		return refuse(http.StatusUnauthorized, "wrong_credentials", "The e-mail address or the password is wrong.")
	case errors.Is(err, account.ErrToken):
		return refuse(http.StatusUnauthorized, "invalid_token", "Your login has expired, or the token is wrong. Log in again: tonearm login, or POST /login.")
	case errors.Is(err, account.ErrExists):
		return refuse(http.StatusConflict, "account_exists", "This e-mail address has an account already. Log in with it.")
	case errors.Is(err, account.ErrUnproven):
		return refuse(http.StatusForbidden, "address_unproven", fmt.Sprintf("Your e-mail address is not proven yet. Until then you can make %d conversions. "+
			"Follow the link in the mail, or ask for another one: tonearm account confirm.", account.UnprovenConversions))
	case errors.Is(err, account.ErrMails):
		return refuse(http.StatusTooManyRequests, "too_many_mails", "This address got enough mails in this hour. Try again in the next one.").retryIn(time.Hour)
	case errors.Is(err, account.ErrBusy):
		return tooMany(busyRetryAfter)
	case errors.Is(err, account.ErrKeys):
		return refuse(http.StatusConflict, "too_many_keys", fmt.Sprintf("You have %d API keys already. Revoke one first: tonearm key revoke ID.", account.MaxKeys))
	case errors.Is(err, account.ErrNotFound):
		return refuse(http.StatusNotFound, "not_found", "Your account has no key with this ID. To see yours: tonearm key list, or GET /v1/keys.")
	case errors.Is(err, account.ErrInvalid):
		return invalid("body", strings.TrimSuffix(err.Error(), "."))
	case errors.As(err, &large):
		return refuse(http.StatusRequestEntityTooLarge, "body_too_large",
			"The body of the request is too long. The limit is "+strconv.FormatInt(large.Limit, 10)+" bytes.")
	case errors.Is(err, context.Canceled):
		return refuse(clientGone, "client_gone", "The client closed the connection before the answer.")
	}
	if errors.Is(err, blob.ErrFull) || errors.Is(err, conversion.ErrFull) || errors.Is(err, account.ErrFull) {
		return refuse(http.StatusInsufficientStorage, "storage_full",
			"The server has no room for this. The operator has to make some. What is there already can be downloaded.").retryIn(fullRetryAfter)
	}
	return refuse(http.StatusServiceUnavailable, "unavailable",
		"Tonearm cannot reach one of its stores right now. Try again in a few seconds.").retryIn(retryAfter)
}

// problemOfHuma translates what huma found wrong with a request. It leaves out
// the values, which may be passwords.
func problemOfHuma(m *huma.ErrorModel) *problem {
	p := refuse(m.Status, "invalid_request", "The request is not valid: "+m.Detail+".")
	switch {
	case m.Status == http.StatusUnsupportedMediaType:
		return refuse(m.Status, "unsupported_media_type", "Send the body as JSON, with Content-Type: application/json.")
	case m.Status >= http.StatusInternalServerError:
		return internalError(m.Status)
	}
	for i, d := range m.Errors {
		location, message := explain(d)
		path, option := strings.CutPrefix(location, optionsPath)
		switch {
		case option:
			p.Code = "invalid_options"
			p.Detail = "The options are not valid: " + strings.TrimLeft(path+": "+message, ".: ") + "."
		case i == 0:
			p.Detail = "The request is not valid: " + strings.TrimPrefix(location+": ", ": ") + message + "."
		}
		p.Errors = append(p.Errors, api.Field{Location: location, Message: message})
	}
	return p
}

// translate turns huma's own errors into problems like all others.
func translate(_ huma.Context, _ string, v any) (any, error) {
	if m, ok := v.(*huma.ErrorModel); ok {
		return problemOf(m), nil
	}
	return v, nil
}

// problem returns the answer to a request that failed with err, and logs what
// an operator must know. ctx is the context of the request.
func (g *Gateway) problem(ctx context.Context, err error) *problem {
	if known := (*problem)(nil); !errors.As(err, &known) && errors.Is(ctx.Err(), context.Canceled) {
		err = context.Canceled // a store may have made another error of it
	}
	p := problemOf(err)
	if p.Limit != "" {
		g.metrics.refused.WithLabelValues(p.Limit).Inc()
	}
	switch {
	case p.Status == http.StatusServiceUnavailable, p.Status == http.StatusInsufficientStorage:
		g.outage.Error("a store cannot be used", "status", p.Status, "code", p.Code, "error", err)
	case p.Status >= http.StatusInternalServerError:
		g.o.Log.Error("request failed", "status", p.Status, "code", p.Code, "error", err)
	}
	return p
}

// fail answers with the problem for err.
func (g *Gateway) fail(w http.ResponseWriter, r *http.Request, err error) {
	g.problem(r.Context(), err).write(w, r)
}

func (p *problem) write(w http.ResponseWriter, r *http.Request) {
	for k, v := range p.header {
		w.Header()[k] = v
	}
	if (r.URL.Path == "/download" || strings.HasPrefix(r.URL.Path, "/account/")) && strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(p.Status)
		_ = problemPage.Execute(w, p.Problem) // there is nobody left to report a failure to
		return
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p.Problem)
}

// problemPage is what people see who follow a link from a mail.
var problemPage = template.Must(template.New("problem").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tonearm: {{.Title}}</title>
<h1>{{.Title}}</h1>
<p>{{.Detail}}</p>
`))
