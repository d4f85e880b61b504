package conversion

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzObjectKey: whatever somebody puts into the bucket, a key is an upload's or a drop's
// or neither, and says no more than it holds.
func FuzzObjectKey(f *testing.F) {
	for _, key := range []string{
		UploadKey("01890000-0000-7000-8000-000000000000", "01890000-0000-7000-8000-000000000001"), "uploads/../x", "uploads//source", "uploads/a/b/source/source",
		"inbox/ada@example.org/talk.mp4", "inbox/ADA@example.org/a/b/../c.mp4", "inbox/@/", "inbox//x", "inbox/a@b/\x00", "inbox/a@b/\xff", "mp3s/x", "",
	} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		id, upload := ParseUploadKey(key)
		email, name, drop := ParseInboxKey(key)
		if upload && drop {
			t.Fatalf("%q is both", key)
		}
		if !upload && id != "" || !drop && (email != "" || name != "") {
			t.Errorf("%q is neither, and yet %q, %q, %q", key, id, email, name)
		}
		if upload && (strings.ContainsAny(id, "/\x00\n\x1b") || !utf8.ValidString(id) || !strings.HasSuffix(key, "/"+id+"/source")) {
			t.Errorf("%q is the upload of %q", key, id)
		}
		if drop && (email == "" || strings.Contains(email, "/") || name == "" || !strings.Contains(key, name)) {
			t.Errorf("%q is a drop of %q named %q", key, email, name)
		}
	})
}

// FuzzOptions: options that are accepted are accepted again, once the defaults are
// filled in and after a way through JSON; whatever is refused is refused with a field.
func FuzzOptions(f *testing.F) {
	for _, text := range []string{
		`{}`, `{"preset":"music","tags":{"title":"x"}}`, `{"start":1e300}`, `{"start":-0.0,"end":1}`, `{"cover":12.5}`, `{"cover":"poster"}`, `{"track":"ger"}`, `{"track":"99999999999999999999"}`,
		`{"loudness":{"target_lufs":-16,"true_peak_db":-1}}`, `{"vbr_quality":0,"bitrate_kbps":0}`, `{"tags":{"date":"2026-02-30","track":"1/0"}}`, `{"tags":{"title":"\u0000\u202e"}}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var o Options
		if json.Unmarshal([]byte(text), &o) != nil {
			return
		}
		if err := o.Validate(); err != nil {
			var bad *OptionError
			if !errors.As(err, &bad) || bad.Field == "" || !utf8.ValidString(bad.Message) {
				t.Errorf("%s: %v", text, err)
			}
			return
		}
		if err := o.Resolved().Validate(); err != nil {
			t.Errorf("%s is refused once its defaults are filled in: %v", text, err)
		}
		b, err := json.Marshal(o)
		var again Options
		if err == nil {
			err = json.Unmarshal(b, &again)
		}
		if err == nil {
			err = again.Validate()
		}
		if err != nil {
			t.Errorf("%s, written as %s: %v", text, b, err)
		}
	})
}
