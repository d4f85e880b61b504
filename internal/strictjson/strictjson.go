// Package strictjson reads JSON that comes from outside.
//
// RFC 8259, section 4, leaves open what an object means that has a name twice. The
// parsers of a proxy, a log and a service then take different values of it, so that
// one checks what another does not do. Such JSON is refused here.
package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxShown is how many bytes of a name an error repeats.
const maxShown = 64

// DuplicateError is the error for an object that has a name twice.
type DuplicateError struct{ Name string }

func (e *DuplicateError) Error() string {
	name := e.Name
	if len(name) > maxShown {
		name = strings.ToValidUTF8(name[:maxShown], "") + "…"
	}
	return fmt.Sprintf("the name %q is there twice in one object", name)
}

// Unmarshal is json.Unmarshal for JSON in which no object has a name twice. Names that
// differ in case alone are the same, because json.Unmarshal takes both for one field.
// It returns a *DuplicateError before v is changed.
func Unmarshal(data []byte, v any) error {
	if name, found := duplicate(data); found {
		return &DuplicateError{name}
	}
	return json.Unmarshal(data, v)
}

// object is an object or a list that has begun.
type object struct {
	names  map[string]bool // in one case; nil for a list
	isName bool            // the next token is a name
}

// duplicate returns the first name that an object of the first value in data has
// twice. Of JSON that is malformed it looks at what comes before the mistake.
func duplicate(data []byte) (name string, found bool) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var open []object
	for {
		token, err := d.Token()
		if err != nil {
			return "", false // json.Unmarshal tells it better
		}
		delim, _ := token.(json.Delim)
		inside := len(open) > 0
		switch {
		case delim == '}' || delim == ']':
			open = open[:len(open)-1]
		case inside && open[len(open)-1].isName:
			here := &open[len(open)-1]
			name, _ := token.(string)
			key := fold(name)
			if here.names[key] {
				return name, true
			}
			here.names[key], here.isName = true, false
			continue
		case delim == '{':
			open = append(open, object{names: map[string]bool{}, isName: true})
			continue
		case delim == '[':
			open = append(open, object{})
			continue
		}
		if len(open) == 0 {
			return "", false
		}
		here := &open[len(open)-1] // a value in it has ended
		here.isName = here.names != nil
	}
}

// fold writes each letter as the smallest one that differs from it in case alone, as
// encoding/json compares names: K is also the Kelvin sign.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && (r < 'A' || r > 'z') {
			return r
		}
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, name)
}
