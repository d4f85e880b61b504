package strictjson_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"tonearm/internal/strictjson"
)

func TestUnmarshal(t *testing.T) {
	for data, twice := range map[string]string{
		`{"a":1,"a":2}`:                         "a",
		`{"a":1,"b":2}`:                         "",
		`{"a":1,"A":2}`:                         "A",
		`{"key":1,"\u212aey":2}`:                "\u212aey", // the Kelvin sign
		`{"size":1,"\u017fize":2}`:              "\u017fize",
		`{"a":1,"\u0061":2}`:                    "a",
		`{"":1,"":2}`:                           "",
		`{"a":{"b":1},"b":{"b":1}}`:             "",
		`{"a":{"b":1,"c":[1,{"d":1}],"b":1}}`:   "b",
		`[{"a":1},{"a":1}]`:                     "",
		`[{"a":1},{"b":[{"c":[],"c":{}}]}]`:     "c",
		`{"a":"a","b":"a"}`:                     "",
		`{"a":["a","a"],"b":["b"]}`:             "",
		`{"a":{},"b":{},"a":{}}`:                "a",
		`{"a":null,"b":true,"c":1.5e9,"d":"x"}`: "",
		`"a"`:                                   "",
		`{"a":{"x":1},"x":1}`:                   "",
		`{"ä":1,"Ä":2}`:                         "Ä",
	} {
		var got, want any
		err := strictjson.Unmarshal([]byte(data), &got)
		var d *strictjson.DuplicateError
		refused := errors.As(err, &d)
		if refused != (twice != "" || strings.Count(data, `"":`) == 2) || refused && (d.Name != twice || got != nil) {
			t.Errorf("%s: got %v, %v, want %q twice", data, got, err, twice)
		}
		if refused {
			continue
		}
		if wrong := json.Unmarshal([]byte(data), &want); wrong != nil || err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, %v, want %v", data, got, err, want)
		}
	}
}

// Malformed JSON, and what follows a value, is refused as json.Unmarshal refuses it.
func TestMalformed(t *testing.T) {
	for _, data := range []string{``, `{`, `{"a":1`, `{"a":1}}`, `{"a":1} {"a":2}`, `]`, `{"a" "b"}`, `{1:2}`, `{"a":1,}`, strings.Repeat(`[`, 20000)} {
		var v any
		err, want := strictjson.Unmarshal([]byte(data), &v), json.Unmarshal([]byte(data), &v)
		if err == nil || want == nil || err.Error() != want.Error() {
			t.Errorf("%.20s: got %v, want %v", data, err, want)
		}
	}
}

func TestLongName(t *testing.T) {
	name := strings.Repeat("ä", 10000)
	err := strictjson.Unmarshal([]byte(`{"`+name+`":1,"`+name+`":1}`), new(any))
	if err == nil || len(err.Error()) > 200 || !strings.Contains(err.Error(), "ääää") {
		t.Errorf("got %.300v", err)
	}
}

// FuzzUnmarshal: what is not refused means the same as for json.Unmarshal.
func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":[{"a":"x"}]}`))
	f.Add([]byte(`{"a":1,"A":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got, want any
		err, wrong := strictjson.Unmarshal(data, &got), json.Unmarshal(data, &want)
		var d *strictjson.DuplicateError
		if errors.As(err, &d) {
			return
		}
		if (err == nil) != (wrong == nil) || !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, %v, want %v, %v", got, err, want, wrong)
		}
	})
}
