package gateway

import (
	"encoding/json"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

// TestOptionsDescribed checks the description of the interface against the
// table of options.
func TestOptionsDescribed(t *testing.T) {
	s := start(t)
	type schema struct {
		Ref, Description string
		Default          any
		Enum, Examples   []any
		Minimum, Maximum *float64
		MaxLength        int
		AnyOf            []schema
		Properties       map[string]schema
	}
	var spec struct {
		Components struct{ Schemas map[string]schema }
	}
	body := strings.ReplaceAll(string(s.send("GET", "/openapi.json", nil).want(200).body), `"$ref"`, `"ref"`)
	check(t, json.Unmarshal([]byte(body), &spec))
	float := func(v any) any { // the type that values from JSON have
		if n, ok := v.(int); ok {
			return float64(n)
		}
		return v
	}
	for _, f := range conversion.Fields {
		got := schema{Ref: "/Options"}
		for name := range strings.SplitSeq(f.Path, ".") {
			got = spec.Components.Schemas[got.Ref[strings.LastIndex(got.Ref, "/")+1:]].Properties[name]
		}
		if !strings.Contains(strings.ToLower(got.Description), strings.ToLower(f.Text)) || !strings.Contains(got.Description, f.Edges) {
			t.Errorf("%s is described as %q", f.Path, got.Description)
		}
		equal(t, "default of "+f.Path, got.Default, float(f.Default))
		equal(t, "length of "+f.Path, got.MaxLength, f.Length)
		named := got.Enum
		if f.Type == conversion.TypeStringOrNumber {
			named = got.Examples[:len(got.Examples)-1]
			got.Minimum, got.Maximum = got.AnyOf[1].Minimum, got.AnyOf[1].Maximum
		}
		if !reflect.DeepEqual(got.Minimum, f.Min) || !reflect.DeepEqual(got.Maximum, f.Max) {
			t.Errorf("limits of %s are %v and %v", f.Path, got.Minimum, got.Maximum)
		}
		var want []any
		for _, v := range f.Values {
			want = append(want, float(v))
		}
		if !slices.Equal(named, want) {
			t.Errorf("values of %s are %v, want %v", f.Path, named, want)
		}
	}
}

// TestBadOptions checks that bad options are refused in the same words whether
// they come in JSON, in a form or in the query.
func TestBadOptions(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	for _, tt := range []struct{ options, path, message string }{
		// Found by types and limits.
		{`{"preset":"loud"}`, "preset", "voice, podcast, music or archive"},
		{`{"preset":""}`, "preset", "voice, podcast, music or archive"},
		{`{"bitrate_kbps":100}`, "bitrate_kbps", "256 or 320 kbit/s"},
		{`{"bitrate_kbps":"128"}`, "bitrate_kbps", "256 or 320 kbit/s"},
		{`{"bitrate_kbps":1e400}`, "bitrate_kbps", "256 or 320 kbit/s"},
		{`{"bitrate_kbps":128.0}`, "bitrate_kbps", "number 128.0 is not allowed here"},
		{`{"vbr_quality":10}`, "vbr_quality", "0 to 9"},
		{`{"vbr_quality":-1}`, "vbr_quality", "0 to 9"},
		{`{"vbr_quality":1.5}`, "vbr_quality", "0 to 9"},
		{`{"sample_rate_hz":96000}`, "sample_rate_hz", "44100 or 48000 Hz"},
		{`{"channels":3}`, "channels", "1 or 2"},
		{`{"channels":[1]}`, "channels", "1 or 2"},
		{`{"track":1}`, "track", "an index from 0 to 99, or a language"},
		{`{"start":-0.5}`, "start", "0 to 1000000 seconds"},
		{`{"start":1000000.5}`, "start", "0 to 1000000 seconds"},
		{`{"end":1e400}`, "end", "0 to 1000000 seconds"},
		{`{"end":-1e400}`, "end", "0 to 1000000 seconds"},
		{`{"end":"1:30"}`, "end", "0 to 1000000 seconds"},
		{`{"loudness":-16}`, "loudness", "must be an object"},
		{`{"loudness":{}}`, "loudness", "the field target_lufs is missing"},
		{`{"loudness":{"true_peak_db":-1}}`, "loudness", "the field target_lufs is missing"},
		{`{"loudness":{"target_lufs":-37}}`, "loudness.target_lufs", "-36 to -8 LUFS"},
		{`{"loudness":{"target_lufs":0}}`, "loudness.target_lufs", "-36 to -8 LUFS"},
		{`{"loudness":{"target_lufs":-16,"true_peak_db":0.1}}`, "loudness.true_peak_db", "-9 to 0 dBTP"},
		{`{"loudness":{"target_lufs":-16,"range":7}}`, "loudness.range", "unknown field"},
		{`{"tags":[]}`, "tags", "must be an object"},
		{`{"tags":{"title":5}}`, "tags.title", "at most 1000 characters"},
		{`{"tags":{"title":"` + strings.Repeat("ü", 1001) + `"}}`, "tags.title", "at most 1000 characters"},
		{`{"tags":{"comment":"` + strings.Repeat("ü", 10_001) + `"}}`, "tags.comment", "at most 10000 characters"},
		{`{"tags":{"composer":"x"}}`, "tags.composer", "unknown field"},
		{`{"cover":true}`, "cover", "none, attached, poster or 0 to 1000000 seconds"},
		{`{"cover":-1}`, "cover", "none, attached, poster or 0 to 1000000 seconds"},
		{`{"cover":1e400}`, "cover", "none, attached, poster or 0 to 1000000 seconds"},
		{`{"chapters":"maybe"}`, "chapters", "keep or drop"},
		{`{"copy":"always"}`, "copy", "auto or never"},
		{`{"loud":1}`, "loud", "unknown field"},
		{`[]`, "", "must be an object"},
		{`"voice"`, "", "must be an object"},

		// Found only by a closer look.
		{`{"bitrate_kbps":128,"vbr_quality":2}`, "bitrate_kbps", "not both"},
		{`{"bitrate_kbps":320,"sample_rate_hz":22050}`, "sample_rate_hz", "no 320 kbit/s at 22050 Hz"},
		{`{"preset":"archive","sample_rate_hz":8000}`, "sample_rate_hz", "no 320 kbit/s at 8000 Hz"},
		{`{"track":"100"}`, "track", "an index from 0 to 99"},
		{`{"track":"english"}`, "track", "or a language such as eng"},
		{`{"start":2,"end":1}`, "end", "not after the start"},
		{`{"start":2,"end":2}`, "end", "not after the start"},
		{`{"tags":{"title":"a\u0000b"}}`, "tags.title", "control characters"},
		{`{"tags":{"date":"2026-02-30"}}`, "tags.date", "2026-11-23"},
		{`{"tags":{"track":"4/3"}}`, "tags.track", "3/12"},
		{`{"cover":"front"}`, "cover", "none, attached, poster"},
		{`{"cover":"-1"}`, "cover", "or 0 to 1000000 seconds"},
		{`{"cover":"NaN"}`, "cover", "or 0 to 1000000 seconds"},
	} {
		body, kind := form(t, "options", tt.options, "@a.mp4", "video")
		for how, r := range map[string]reply{
			"JSON":  u.call("POST", "/v1/conversions", `{"filename":"a","size":1,"options":`+tt.options+`}`),
			"form":  u.call("POST", "/upload", body, "Content-Type", kind),
			"query": u.call("PUT", "/upload?options="+url.QueryEscape(tt.options), strings.NewReader("video")),
		} {
			r.want(422, "invalid_options")
			p := decode[api.Problem](r)
			want := strings.TrimSuffix("body.options."+tt.path, ".")
			if len(p.Errors) != 1 || p.Errors[0].Location != want || !strings.Contains(p.Errors[0].Message, tt.message) {
				t.Errorf("%s as %s: got %+v, want %q at %s", tt.options, how, p.Errors, tt.message, want)
			}
			if !strings.Contains(p.Detail, tt.message) || !strings.Contains(p.Detail, tt.path) {
				t.Errorf("%s as %s: detail is %q", tt.options, how, p.Detail)
			}
		}
	}
	for _, broken := range []string{`{"start":1,"start":2}`, `{"start":NaN}`, `{"start":Infinity}`, `{"start":1}{}`, `{`} {
		u.call("POST", "/v1/conversions", `{"filename":"a","size":1,"options":`+broken+`}`).want(400, "invalid_request")
		u.call("PUT", "/upload?options="+url.QueryEscape(broken), strings.NewReader("video")).want(422, "invalid_options")
	}
	s.nothingLeft(u)
}

// TestGoodOptions checks that the answer holds the options as understood, with
// the preset's values filled in.
func TestGoodOptions(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	for options, want := range map[string]string{
		`null`:                       `{}`,
		`{}`:                         `{}`,
		`{"vbr_quality":0}`:          `{"vbr_quality":0}`,
		`{"preset":"voice"}`:         `{"preset":"voice","bitrate_kbps":64,"channels":1,"loudness":{"target_lufs":-16}}`,
		`{"preset":"music"}`:         `{"preset":"music","vbr_quality":2}`,
		`{"start":0,"end":0}`:        `{}`,
		`{"start":1.5,"end":1e6}`:    `{"start":1.5,"end":1000000}`,
		`{"cover":12.5}`:             `{"cover":"12.5"}`,
		`{"cover":"12.5"}`:           `{"cover":"12.5"}`,
		`{"cover":0}`:                `{"cover":"0"}`,
		`{"cover":null}`:             `{}`,
		`{"tags":{}}`:                `{"tags":{}}`,
		`{"tags":{"title":""}}`:      `{"tags":{}}`,
		`{"tags":{"comment":"ü\n"}}`: `{"tags":{"comment":"ü\n"}}`,
		`{"preset":"podcast","vbr_quality":4,"channels":1,"loudness":{"target_lufs":-23,"true_peak_db":-2}}`:           `{"preset":"podcast","vbr_quality":4,"channels":1,"loudness":{"target_lufs":-23,"true_peak_db":-2}}`,
		`{"track":"pt-BR","tags":{"date":"2026-11","track":"3/12"},"cover":"poster","chapters":"drop","copy":"never"}`: `{"track":"pt-BR","tags":{"date":"2026-11","track":"3/12"},"cover":"poster","chapters":"drop","copy":"never"}`,
	} {
		r := u.call("POST", "/v1/conversions", `{"filename":"a","size":1,"options":`+options+`}`).want(201)
		var got struct{ Options json.RawMessage }
		check(t, json.Unmarshal(r.body, &got))
		equal(t, options, string(got.Options), want)
		if options == "null" {
			continue
		}
		r = u.call("PUT", "/upload/v.mp4?options="+url.QueryEscape(options), strings.NewReader("video")).want(201)
		check(t, json.Unmarshal(r.body, &got))
		equal(t, options+" in the query", string(got.Options), want)
	}
}

func TestPresets(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	got := decode[api.Presets](s.send("GET", "/v1/presets", nil).want(200)).Presets
	if !reflect.DeepEqual(got, conversion.Presets) {
		t.Errorf("presets are %+v", got)
	}
	for _, p := range got {
		c := decode[api.Conversion](u.call("POST", "/v1/conversions", map[string]any{
			"filename": "a", "size": 1, "options": map[string]string{"preset": p.Name},
		}).want(201))
		want := p.Options
		want.Preset = p.Name
		if !reflect.DeepEqual(c.Options, want) {
			t.Errorf("%s: options are %+v, want %+v", p.Name, c.Options, want)
		}
	}
}

// TestNotifyNone: whoever waits gets the outcome, and no mail is owed.
func TestNotifyNone(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	create := func(notify string) string {
		c := decode[api.Conversion](u.call("POST", "/v1/conversions", `{"filename":"a","size":5`+notify+`}`).want(201))
		return c.ID
	}
	for id, want := range map[string]conversion.NotifyPreference{
		create(``):                  conversion.NotifyEmail,
		create(`,"notify":"email"`): conversion.NotifyEmail,
		create(`,"notify":"none"`):  conversion.NotifyNone,
	} {
		// The answer to somebody who waits does not depend on a mail.
		waiting := make(chan reply, 1)
		go func() { waiting <- u.call("GET", "/v1/conversions/"+id+"?wait=60", nil) }()
		record := s.advance(id, conversion.Done)
		check(t, s.o.Queue.Announce(t.Context(), id))
		c := decode[api.Conversion]((<-waiting).want(200))
		equal(t, "state", c.State, conversion.Done)
		equal(t, "notify", c.Notify, want)
		owed := record.Notice.State == conversion.NoticeOwed && len(record.Owed()) == 1
		equal(t, "a mail owed where notify is "+string(want), owed, want == conversion.NotifyEmail)
	}
	body, kind := form(t, "notify", "none", "options", "{}", "@a.mp4", "video")
	for _, r := range []reply{
		u.call("POST", "/upload", body, "Content-Type", kind),
		u.call("PUT", "/upload/v.mp4?notify=none", strings.NewReader("video")),
	} {
		equal(t, "notify of an upload", decode[api.Conversion](r.want(201)).Notify, conversion.NotifyNone)
	}
	u.call("POST", "/v1/conversions", `{"filename":"a","size":5,"notify":"sms"}`).want(422, "invalid_request")
	u.call("POST", "/v1/conversions", `{"filename":"a","size":5,"notify":""}`).want(422, "invalid_request")
	r := u.call("PUT", "/upload?notify=sms", strings.NewReader("video")).want(422, "invalid_request")
	equal(t, "location", decode[api.Problem](r).Errors[0].Location, "form.notify")
}

// TestResultShown: the owner sees everything that was recorded about an MP3.
func TestResultShown(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	id := u.announce(3, false).ID
	s.advance(id, conversion.Done)
	mp3 := conversion.MP3{
		Loudness: &conversion.Levels{IntegratedLUFS: -16.1, RangeLU: 5, PeakDB: -2, TruePeakDB: -1.5},
		GainDB:   3.5, Cover: "12.5", Chapters: 7, Encoder: conversion.CopyEncoder,
		Notes: []conversion.Note{{Code: conversion.NoteDownmixed, Message: "From six channels."}, {Code: conversion.NoteGap, Message: "A pause.", At: 2.5}},
	}
	fallback := conversion.Fallback{From: conversion.GPU, Reason: conversion.FallbackWaited, At: s.o.Now().UTC().Truncate(time.Second)}
	_, err := s.o.Records.Update(t.Context(), id, func(c *conversion.Conversion) error {
		mp3.ID, mp3.Key, mp3.CreatedAt = c.MP3.ID, c.MP3.Key, c.MP3.CreatedAt
		c.MP3, c.Fallback = mp3, &fallback
		return nil
	})
	check(t, err)
	c := decode[api.Conversion](u.call("GET", "/v1/conversions/"+id, nil).want(200))
	if !reflect.DeepEqual(c.Fallback, &fallback) {
		t.Errorf("fallback is %+v", c.Fallback)
	}
	for _, m := range []api.MP3{*c.MP3, decode[api.MP3](u.call("GET", "/v1/mp3s/"+mp3.ID, nil).want(200))} {
		got := conversion.MP3{
			ID: m.ID, Key: mp3.Key, CreatedAt: m.CreatedAt,
			Loudness: m.Loudness, GainDB: m.GainDB, Cover: m.Cover, Chapters: m.Chapters, Notes: m.Notes, Encoder: m.Encoder,
		}
		if !reflect.DeepEqual(got, mp3) {
			t.Errorf("got %+v, want %+v", got, mp3)
		}
	}
}

// TestWaitingShown: the owner sees what a conversion waits for, and since when.
func TestWaitingShown(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	id := u.announce(3, false).ID
	s.advance(id, conversion.Running)
	if c := decode[api.Conversion](u.call("GET", "/v1/conversions/"+id, nil).want(200)); c.Waiting != nil {
		t.Errorf("it waits for %+v", c.Waiting)
	}
	now := s.o.Now()
	c, err := s.o.Records.Update(t.Context(), id, func(c *conversion.Conversion) error {
		return c.HandBack(c.Attempt, conversion.FaultDisk, conversion.Failure{Code: conversion.CodeInternal, Message: "Full."}, conversion.DefaultPolicy, now)
	})
	check(t, err)
	got := decode[api.Conversion](u.call("GET", "/v1/conversions/"+id, nil).want(200))
	if got.State != conversion.Queued || got.Waiting == nil || got.Waiting.Reason != conversion.FaultDisk || !got.Waiting.Since.Equal(c.Waiting.Since) {
		t.Errorf("%s, waits for %+v, want %+v", got.State, got.Waiting, c.Waiting)
	}
}
