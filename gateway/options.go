package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
	"tonearm/internal/strictjson"
)

// optionsPath is the location of the options in a request.
const optionsPath = "body.options"

// misfit is the text between a path and a value in an error of unmarshal.
const misfit = " does not take "

// describeOptions returns the schema of the options, made from
// conversion.Fields. huma also uses it to check requests.
func describeOptions(registry huma.Registry) *huma.Schema {
	root := registry.Schema(reflect.TypeFor[conversion.Options](), true, "Options")
	for _, f := range conversion.Fields {
		describeField(property(registry, root, f.Path), f)
	}
	for _, of := range []reflect.Type{reflect.TypeFor[conversion.Options](), reflect.TypeFor[conversion.Loudness](), reflect.TypeFor[conversion.Tags]()} {
		registry.Schema(of, false, "").PrecomputeMessages()
	}
	return root
}

// property returns the schema at a path below s.
func property(registry huma.Registry, s *huma.Schema, path string) *huma.Schema {
	for name := range strings.SplitSeq(path, ".") {
		if s.Ref != "" {
			s = registry.SchemaFromRef(s.Ref)
		}
		s = s.Properties[name]
	}
	return s
}

func describeField(s *huma.Schema, f conversion.Field) {
	s.Description = description(f)
	s.Default = f.Default
	if f.Type == conversion.TypeStringOrNumber {
		s.Type, s.Examples = "", append(f.Values, 12.5)
		s.AnyOf = []*huma.Schema{{Type: huma.TypeString}, {Type: huma.TypeNumber, Minimum: f.Min, Maximum: f.Max}}
		return
	}
	s.Minimum, s.Maximum = f.Min, f.Max
	if f.Length > 0 {
		s.MaxLength = &f.Length
	}
	for _, v := range f.Values {
		if n, ok := v.(int); ok {
			v = float64(n) // the type that values from JSON have
		}
		s.Enum = append(s.Enum, v)
	}
}

func description(f conversion.Field) string {
	text := strings.ToUpper(f.Text[:1]) + f.Text[1:]
	if f.Unit != "" {
		text += " (" + f.Unit + ")"
	}
	if f.Form != "" {
		text += ": " + f.Form
	}
	if f.Default == nil {
		text += ". Default: " + f.Without
	}
	return text + ". " + f.Edges
}

type presetsOutput struct{ Body api.Presets }

func (g *Gateway) presets(context.Context, *struct{}) (*presetsOutput, error) {
	return &presetsOutput{Body: api.Presets{Presets: conversion.Presets}}, nil
}

// parseOptions reads the options of a form in the same way as those of a JSON
// body.
func (g *Gateway) parseOptions(value []byte) (o conversion.Options, err error) {
	var tree any
	if err := unmarshal(value, &tree); err != nil {
		return o, &conversion.OptionError{Message: "options must be one JSON object (" + err.Error() + ")"}
	}
	var (
		path    = huma.NewPathBuffer([]byte(optionsPath), len(optionsPath))
		result  huma.ValidateResult
		refused = &huma.ErrorModel{Status: http.StatusUnprocessableEntity}
	)
	huma.Validate(g.api.OpenAPI().Components.Schemas, g.options, path, huma.ModeWriteToServer, tree, &result)
	for _, err := range result.Errors {
		if d := (*huma.ErrorDetail)(nil); errors.As(err, &d) {
			refused.Errors = append(refused.Errors, d)
		}
	}
	if len(result.Errors) > 0 {
		return o, refused
	}
	if err := unmarshal(value, &o); err != nil {
		refused.Errors = []*huma.ErrorDetail{{Location: "body", Message: "options." + err.Error()}}
		return o, refused
	}
	return o, o.Validate()
}

// explain says where something is wrong in a request, and what. For an option
// it uses the words of the option's description.
func explain(d *huma.ErrorDetail) (location, message string) {
	if path, value, ok := strings.Cut(d.Message, misfit); ok && d.Location == "body" {
		return "body." + path, value + " is not allowed here"
	}
	if path, ok := strings.CutPrefix(d.Location, optionsPath+"."); ok {
		if f, ok := conversion.FieldAt(path); ok && f.Type != conversion.TypeObject {
			return d.Location, "use " + f.Allowed()
		}
	}
	return d.Location, d.Message
}

// unmarshal is json.Unmarshal for huma, which first checks a tree of values and
// then fills a struct. A number that is too large becomes infinite in the tree,
// and is then refused at its place. huma keeps only the text of an error. So
// the text begins with the path of the value that does not fit, if the path is
// known.
func unmarshal(data []byte, v any) error {
	err := strictjson.Unmarshal(data, v)
	wrong := (*json.UnmarshalTypeError)(nil)
	if !errors.As(err, &wrong) {
		return err
	}
	if tree, ok := v.(*any); ok {
		d := json.NewDecoder(strings.NewReader(string(data)))
		d.UseNumber()
		if err := d.Decode(tree); err != nil {
			return err
		}
		*tree = floats(*tree)
		return nil
	}
	if wrong.Field == "" {
		return fmt.Errorf("%s is not allowed here", wrong.Value)
	}
	return errors.New(wrong.Field + misfit + wrong.Value)
}

// floats replaces each json.Number in v with a float64.
func floats(v any) any {
	switch v := v.(type) {
	case json.Number:
		f, _ := strconv.ParseFloat(v.String(), 64) // infinite if it is too large
		return f
	case map[string]any:
		for name := range v {
			v[name] = floats(v[name])
		}
	case []any:
		for i := range v {
			v[i] = floats(v[i])
		}
	}
	return v
}
