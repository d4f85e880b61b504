package conversion

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/options.md")

// TestEveryOptionIsDescribed walks Options: each JSON field has a row in Fields,
// of its type, and there are no others.
func TestEveryOptionIsDescribed(t *testing.T) {
	types := map[string]FieldType{}
	walkOptions(reflect.TypeFor[Options](), "", types)
	seen := map[string]bool{}
	flags := map[string]bool{"notify": true}
	for _, f := range Fields {
		if seen[f.Path] || types[f.Path] != f.Type {
			t.Errorf("%q of type %q is there twice, or is %q in Options", f.Path, f.Type, types[f.Path])
		}
		seen[f.Path] = true
		if f.Text == "" || f.Edges == "" || f.Otherwise() == "" || !slices.Contains(FieldGroups, f.Group) || strings.HasSuffix(f.Text, ".") {
			t.Errorf("%s is not wholly described: %+v", f.Path, f)
		}
		if object := f.Type == TypeObject; object != (f.Allowed() == "") || object != (f.Flag == "") || object != (f.Operand == "") {
			t.Errorf("%s: allowed %q, flag %q %q", f.Path, f.Allowed(), f.Flag, f.Operand)
		}
		if f.Flag != "" && flags[f.Flag] {
			t.Errorf("two flags --%s", f.Flag)
		}
		flags[f.Flag] = true
		if (f.Min == nil) != (f.Max == nil) {
			t.Errorf("%s has one limit", f.Path)
		}
		if got, ok := FieldAt(f.Path); !ok || got.Path != f.Path {
			t.Errorf("FieldAt(%q): got %+v, %t", f.Path, got, ok)
		}
	}
	for path := range types {
		if !seen[path] {
			t.Errorf("%s is described nowhere", path)
		}
	}
	if _, ok := FieldAt("nothing"); ok {
		t.Error("FieldAt finds what is not there")
	}
}

// walkOptions notes the type of each JSON field below a struct.
func walkOptions(of reflect.Type, prefix string, types map[string]FieldType) {
	for i := range of.NumField() {
		f := of.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		path, kind := prefix+name, f.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		switch {
		case kind == reflect.TypeFor[Cover]():
			types[path] = TypeStringOrNumber
		case kind.Kind() == reflect.Struct:
			types[path] = TypeObject
			walkOptions(kind, path+".", types)
		default:
			types[path] = map[reflect.Kind]FieldType{
				reflect.Int: TypeInteger, reflect.Float64: TypeNumber, reflect.String: TypeString,
			}[kind.Kind()]
		}
	}
}

func TestAllowed(t *testing.T) {
	for path, want := range map[string]string{
		"preset":               "voice, podcast, music or archive",
		"channels":             "1 or 2",
		"vbr_quality":          "0 to 9",
		"sample_rate_hz":       "8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100 or 48000 Hz",
		"start":                "0 to 1000000 seconds",
		"loudness.target_lufs": "-36 to -8 LUFS",
		"tags.title":           "at most 1000 characters",
		"tags.date":            "2026, 2026-11 or 2026-11-23",
		"cover":                "none, attached, poster or 0 to 1000000 seconds",
		"loudness":             "",
	} {
		f, _ := FieldAt(path)
		if got := f.Allowed(); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

// TestDocumentedOptions checks the tables of docs/options.md against Fields and
// Presets; -update writes them.
func TestDocumentedOptions(t *testing.T) {
	const file = "../../docs/options.md"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := replaceTable(t, string(b), "presets", presetsTable(t))
	text = replaceTable(t, text, "options", optionsTable())
	if text == string(b) {
		return
	}
	if !*update {
		t.Fatalf("%s is not up to date: go test ./internal/conversion -run TestDocumentedOptions -update", file)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestDocumentedNotes: docs/options.md says what every note is about.
func TestDocumentedNotes(t *testing.T) {
	b, err := os.ReadFile("../../docs/options.md")
	if err != nil {
		t.Fatal(err)
	}
	if len(NoteCodes) == 0 {
		t.Fatal("there are no notes")
	}
	for _, code := range NoteCodes {
		if !strings.Contains(string(b), "`"+string(code)+"`") {
			t.Errorf("docs/options.md does not name the note %s", code)
		}
	}
}

// replaceTable replaces the table between the comments that mark its begin and
// end.
func replaceTable(t *testing.T, text, name, table string) string {
	t.Helper()
	before, rest, found := strings.Cut(text, "<!-- "+name+" -->\n")
	_, after, ends := strings.Cut(rest, "<!-- end -->")
	if !found || !ends {
		t.Fatalf("there is no place for the table of %s", name)
	}
	return before + "<!-- " + name + " -->\n" + table + "<!-- end -->" + after
}

func presetsTable(t *testing.T) string {
	t.Helper()
	table := "| preset | | options |\n|---|---|---|\n"
	for _, p := range Presets {
		options, err := json.Marshal(p.Options)
		if err != nil {
			t.Fatal(err)
		}
		table += fmt.Sprintf("| `%s` | %s | `%s` |\n", p.Name, p.Description, options)
	}
	return table
}

func optionsTable() string {
	table := "| option | flag | values | default | what it does, and its limits |\n|---|---|---|---|---|\n"
	for _, f := range Fields {
		name, values := "", f.Allowed()
		if f.Flag != "" {
			name = "`--" + f.Flag + "`"
		}
		if f.Type == TypeObject {
			values = "an object"
		}
		text := strings.ToUpper(f.Text[:1]) + f.Text[1:]
		table += fmt.Sprintf("| `%s` | %s | %s | %s | %s. %s |\n", f.Path, name, values, f.Otherwise(), text, f.Edges)
	}
	return table
}
