package api_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

// TestNewConversionFields checks that a new field does not change the JSON of
// requests without it, since hashes of that JSON are stored.
func TestNewConversionFields(t *testing.T) {
	always := map[string]bool{"filename": false, "size": false, "options.loudness.target_lufs": false, "sent.what": false, "sent.original_size": false}
	var walk func(of reflect.Type, path string)
	walk = func(of reflect.Type, path string) {
		for f := range of.Fields() {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			field := strings.TrimPrefix(path+"."+name, ".")
			_, listed := always[field]
			optional := slices.ContainsFunc(strings.Split(options, ","), func(s string) bool { return s == "omitempty" || s == "omitzero" })
			if optional == listed {
				t.Errorf("%s: optional %t, want %t", field, optional, !listed)
			}
			if name == "" || name == "-" {
				t.Errorf("%s.%s has no name in JSON", path, f.Name)
			}
			delete(always, field)
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				if optional && f.Type.Kind() == reflect.Struct && !strings.Contains(options, "omitzero") {
					t.Errorf("%s is a struct, which omitempty never omits", field)
				}
				walk(inner, field)
			}
		}
	}
	walk(reflect.TypeFor[api.NewConversion](), "")
	for field := range always {
		t.Errorf("%s is gone", field)
	}
}

// TestNewConversionJSON checks the order of the fields too.
func TestNewConversionJSON(t *testing.T) {
	full := api.NewConversion{Filename: "Ünder <way>.mp4", Size: 1 << 40, Parts: true, Notify: conversion.NotifyNone, Sent: &conversion.Sent{What: conversion.SentSound, OriginalSize: 9}, Options: &conversion.Options{
		Preset: "voice", BitrateKbps: 128, VBRQuality: new(0), SampleRateHz: 44100, Channels: 2, Track: "pt-BR", Start: 0.1, End: 1e6,
		Loudness: &conversion.Loudness{TargetLUFS: -16, TruePeakDB: new(-1.5)},
		Tags:     &conversion.Tags{Title: "t", Artist: "a", Album: "b", Date: "2026", Genre: "g", Comment: "c\nd", Track: "3/12"},
		Cover:    "12.5", Chapters: conversion.ChaptersDrop, Copy: conversion.CopyNever,
	}}
	for _, tt := range []struct {
		request api.NewConversion
		want    string
	}{
		{api.NewConversion{}, `{"filename":"","size":0}`},
		{api.NewConversion{Options: &conversion.Options{}}, `{"filename":"","size":0,"options":{}}`},
		{full, `{"filename":"Ünder \u003cway\u003e.mp4","size":1099511627776,"options":{"preset":"voice","bitrate_kbps":128,"vbr_quality":0,` +
			`"sample_rate_hz":44100,"channels":2,"track":"pt-BR","start":0.1,"end":1000000,"loudness":{"target_lufs":-16,"true_peak_db":-1.5},` +
			`"tags":{"title":"t","artist":"a","album":"b","date":"2026","genre":"g","comment":"c\nd","track":"3/12"},` +
			`"cover":"12.5","chapters":"drop","copy":"never"},"parts":true,"notify":"none","sent":{"what":"sound","original_size":9}}`},
	} {
		got, err := json.Marshal(tt.request)
		if err != nil || string(got) != tt.want {
			t.Errorf("got %s, %v, want %s", got, err, tt.want)
		}
	}
}
