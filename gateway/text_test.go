package gateway

import (
	"testing"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

// TestDetails: what a person reads about a mistake.
func TestDetails(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	done, failed := u.announce(3, false).ID, u.announce(3, false).ID
	s.advance(done, conversion.Done)
	s.advance(failed, conversion.Failed)
	for _, tt := range []struct{ method, path, body, want string }{
		{"GET", "/v1/conversions/nonsense", "", "Your account has no conversion or MP3 with this ID. To see yours: tonearm list, or GET /v1/conversions."},
		{"POST", "/v1/conversions/" + done + "/cancel", "", "This conversion is done. There is nothing to cancel."},
		{"POST", "/v1/conversions/" + failed + "/cancel", "", "This conversion has failed. There is nothing to cancel."},
		{"POST", "/v1/conversions/" + done + "/retry", "", "This conversion is done. Only a failed, canceled or expired conversion can be started again."},
		{"GET", "/v1/conversions?state=bogus", "", "The request is not valid: query.state[0]: must be one of: awaiting_upload, queued, running, done, failed, canceled, expired."},
		{"GET", "/v1/conversions?limit=0", "", "The request is not valid: query.limit: must be at least 1."},
		{"GET", "/v1/conversions?limit=201", "", "The request is not valid: query.limit: must be at most 200."},
		{"POST", "/v1/conversions", `{"filename":"a"}`, "The request is not valid: body: the field size is missing."},
		{"POST", "/v1/conversions", `{"filename":"a","size":"1"}`, "The request is not valid: body.size: must be a whole number."},
		{"POST", "/v1/conversions", `{"filename":7,"size":1}`, "The request is not valid: body.filename: must be a string."},
		{"POST", "/v1/conversions", `{"filename":"a","size":1,"parts":1}`, "The request is not valid: body.parts: must be true or false."},
		{"POST", "/v1/conversions", `{"filename":"a","size":1,"colour":"red"}`, "The request is not valid: body.colour: unknown field."},
		{"POST", "/v1/conversions", `{"filename":"a","size":1,"options":{"bitrate_kbps":7}}`,
			"The options are not valid: bitrate_kbps: use 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 192, 224, 256 or 320 kbit/s."},
	} {
		p := decode[api.Problem](u.call(tt.method, tt.path, tt.body))
		equal(t, tt.method+" "+tt.path+" "+tt.body, p.Detail, tt.want)
	}
	u.token = "nonsense"
	equal(t, "with a wrong token", decode[api.Problem](u.call("GET", "/v1/conversions", nil)).Detail,
		"Your login has expired, or the token is wrong. Log in again: tonearm login, or POST /login.")
}

// TestFailureAdvice: the message of a conversion that has failed ends with what
// its owner can do. One that Tonearm tries again needs no advice.
func TestFailureAdvice(t *testing.T) {
	c := conversion.Conversion{State: conversion.Failed, Error: &conversion.Failure{Code: conversion.CodeNoAudio, Message: "The video has no sound."}}
	equal(t, "failed", describe(c).Error.Message, "The video has no sound. "+c.Advice(""))
	c.State = conversion.Running
	equal(t, "running", describe(c).Error.Message, "The video has no sound.")
}
