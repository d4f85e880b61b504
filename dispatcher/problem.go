package dispatcher

import (
	"encoding/json"
	"errors"
	"net/http"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

// badRequest is an error that the sender of the request made.
type badRequest struct{ err error }

func (e *badRequest) Error() string { return e.err.Error() }

// fail answers with the problem document for err. It is the one place where an
// error becomes an HTTP status.
func (d *Dispatcher) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := api.Problem{Status: http.StatusServiceUnavailable, Code: "unavailable",
		Detail: "The dispatcher cannot reach one of its stores right now. Try again."}
	var bad *badRequest
	switch {
	case errors.Is(err, errUnauthorized):
		p = api.Problem{Status: http.StatusUnauthorized, Code: "unauthenticated", Detail: err.Error()}
	case errors.As(err, &bad):
		p = api.Problem{Status: http.StatusBadRequest, Code: "invalid_request", Detail: err.Error()}
	case errors.Is(err, conversion.ErrStaleAttempt), errors.Is(err, conversion.ErrNotFound):
		p = api.Problem{Status: http.StatusConflict, Code: "stale_attempt", Detail: "This attempt is not the current one. Stop it."}
	case errors.Is(err, conversion.ErrNewerFormat): // a newer dispatcher may answer the next call
		p.Code, p.Detail = "newer_format", "A newer version of Tonearm wrote this conversion. Try again."
		w.Header().Set("Retry-After", "1")
	case r.Context().Err() != nil: // the caller hung up
	default:
		d.outage.Warn("request failed", "route", r.Pattern, "error", err)
		w.Header().Set("Retry-After", "1")
	}
	p.Title = http.StatusText(p.Status)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}
