package gateway

import (
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

// The plain forms are described by hand, because they read and write more than
// JSON.

func loginOperation(op huma.Operation) huma.Operation {
	op.Description = "The token as plain text, or as JSON with Accept: application/json. " +
		"Failed logins are counted by address and network: 429 after too many."
	op.Security = []map[string][]string{{"basic": {}}}
	op.Responses = described(op, map[string]*huma.MediaType{
		"text/plain":       {Schema: &huma.Schema{Type: huma.TypeString}},
		"application/json": {Schema: huma.SchemaFromType(huma.NewMapRegistry("#/", huma.DefaultSchemaNamer), reflect.TypeFor[api.Token]())},
	})
	return op
}

func uploadOperation(op huma.Operation) huma.Operation {
	op.Description = "A form with optional fields options (JSON) and notify, and after them one file; or the video as the whole body. " +
		"Both fields may stand in the query instead. " +
		"The name is the file's, or that of the query, of Content-Disposition, or of the path. The answer is the conversion."
	op.Security = []map[string][]string{{"bearer": {}}, {"basic": {}}}
	binary := &huma.Schema{Type: huma.TypeString, Format: "binary"}
	notify := &huma.Schema{Type: huma.TypeString, Enum: []any{conversion.NotifyEmail, conversion.NotifyNone}, Default: conversion.NotifyEmail}
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"multipart/form-data": {Schema: &huma.Schema{Type: huma.TypeObject, Required: []string{"file"}, Properties: map[string]*huma.Schema{
			"options": {Type: huma.TypeString, Description: "As in POST /v1/conversions"},
			"notify":  notify,
			"file":    binary,
		}}},
		"application/octet-stream": {Schema: binary},
	}}
	name := &huma.Param{Name: "filename", In: "query", Schema: &huma.Schema{Type: huma.TypeString}}
	if op.Path != "/upload" {
		name.In, name.Required = "path", true
	}
	op.Parameters = []*huma.Param{
		name,
		{Name: "options", In: "query", Description: "JSON, as in POST /v1/conversions", Schema: &huma.Schema{Type: huma.TypeString}},
		{Name: "notify", In: "query", Schema: notify},
	}
	op.Responses = described(op, map[string]*huma.MediaType{
		"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/Conversion"}},
	})
	return op
}

func downloadOperation(op huma.Operation) huma.Operation {
	op.Description = "For a logged-in user, or with the token of a mail's link, which is good for that MP3 alone."
	op.Security = []map[string][]string{{}, {"bearer": {}}, {"basic": {}}}
	op.Parameters = []*huma.Param{
		{Name: "mp3_id", In: "query", Required: true, Schema: &huma.Schema{Type: huma.TypeString}},
		{Name: "token", In: "query", Schema: &huma.Schema{Type: huma.TypeString}},
	}
	op.Responses = described(op, nil)
	return op
}

func described(op huma.Operation, content map[string]*huma.MediaType) map[string]*huma.Response {
	return map[string]*huma.Response{
		strconv.Itoa(op.DefaultStatus): {Description: http.StatusText(op.DefaultStatus), Content: content},
	}
}
