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
	op.Description = "The answer is the token as plain text, or as JSON if you send Accept: application/json. " +
		"Failed logins are counted by e-mail address and network. After too many, the answer is 429."
	op.Security = []map[string][]string{{"basic": {}}}
	op.Responses = described(op, map[string]*huma.MediaType{
		"text/plain":       {Schema: &huma.Schema{Type: huma.TypeString}},
		"application/json": {Schema: huma.SchemaFromType(huma.NewMapRegistry("#/", huma.DefaultSchemaNamer), reflect.TypeFor[api.Token]())},
	})
	return op
}

func uploadOperation(op huma.Operation) huma.Operation {
	op.Description = "Send a form with one file, or the video as the whole body. " +
		"The fields options (JSON) and notify are optional. In a form they come before the file. They can also be in the query. " +
		"In a form, the file gives the name of the video. Otherwise the name comes from the query, else from Content-Disposition, else from the path. " +
		"The answer is the conversion. " +
		"After 503 outcome_unknown the video may be converted all the same: send an Idempotency-Key, and repeat the request with it."
	op.Security = []map[string][]string{{"bearer": {}}, {"basic": {}}}
	binary := &huma.Schema{Type: huma.TypeString, Format: "binary"}
	notify := &huma.Schema{Type: huma.TypeString, Enum: []any{conversion.NotifyEmail, conversion.NotifyFailures, conversion.NotifyNone}}
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
		{Name: "Idempotency-Key", In: "header", Schema: &huma.Schema{Type: huma.TypeString},
			Description: "At most 255 bytes. The same video with the same key again gives the same conversion (200)"},
		{Name: "Content-Digest", In: "header", Schema: &huma.Schema{Type: huma.TypeString},
			Description: "RFC 9530, sha-256 or sha-512 of the whole body. If the body that arrives has another one, nothing is kept (400 digest_mismatch)"},
	}
	op.Responses = described(op, map[string]*huma.MediaType{
		"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/Conversion"}},
	})
	return op
}

func downloadOperation(op huma.Operation) huma.Operation {
	op.Description = "Needs a login, or the token in the link of a mail. That token opens this one MP3 only."
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
