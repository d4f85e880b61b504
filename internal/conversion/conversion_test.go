package conversion

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A new record has only the fields that the version before the format number
// reads, and the format number, which that version ignores. If you add a field
// here, make sure that programs without it do no harm.
func TestNewRecordsFields(t *testing.T) {
	c, err := New(Params{OwnerID: "u1", OwnerEmail: "a@example.org", Filename: "f.mp4"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	document, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(document, &fields); err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(maps.Keys(fields))
	want := strings.Fields(`attempt awaited_at claimed_at class clean_at created_at expires_at failures filename finished_at format
		id idempotency_key launches lease_until mp3 nonce not_before notice object options outbox owner_email owner_id
		progress queued_at request_hash revision source_gone source_until started_at state updated_at wake_at`)
	if !slices.Equal(got, want) {
		t.Errorf("fields %q, want %q", got, want)
	}
	if c.Format != Format {
		t.Errorf("format %d, want %d", c.Format, Format)
	}
}

func TestMP3Name(t *testing.T) {
	for filename, want := range map[string]string{
		"holiday.mp4":                "holiday.mp3",
		"holiday.MOV":                "holiday.mp3",
		"holiday":                    "holiday.mp3",
		"a.b.webm":                   "a.b.mp3",
		"Talk v1.2":                  "Talk v1.2.mp3",
		"Dr. No":                     "Dr. No.mp3",
		"Dr. No.m2ts":                "Dr. No.mp3",
		"clip.3gp":                   "clip.mp3",
		"song.mp3":                   "song.mp3",
		".mov":                       ".mov.mp3",
		"folder/holiday.mp4":         "holiday.mp3",
		`C:\Users\me\holiday.mp4`:    "holiday.mp3",
		"../../etc/passwd":           "passwd.mp3",
		"Größe \"ü\" 日本語 + & #1.mkv": "Größe \"ü\" 日本語 + & #1.mp3",
		"":                           "sound.mp3",
		".":                          "sound.mp3",
		"..":                         "sound.mp3",
		"/":                          "sound.mp3",
		"ends in a dot.":             "ends in a dot..mp3",
	} {
		if got := MP3Name(filename); got != want {
			t.Errorf("MP3Name of %q: got %q, want %q", filename, got, want)
		}
	}
}

func TestParseUploadKey(t *testing.T) {
	if id, ok := ParseUploadKey(UploadKey("u1", "c1")); !ok || id != "c1" {
		t.Errorf("ParseUploadKey of an UploadKey: got %q, %t", id, ok)
	}
	for _, key := range []string{
		"", "uploads", "uploads/", "uploads/u1", "uploads/u1/c1", "uploads/u1/c1/", "uploads/u1/c1/other",
		"uploads/u1//source", "uploads//c1/source", "uploads/u1/c1/source/more", "/uploads/u1/c1/source",
		"uploads/u1/../source", "uploads/./c1/source", "inbox/u1/c1/source", "mp3s/u1/c1/source",
		"Uploads/u1/c1/source", "uploads/u1/c1/source ",
	} {
		if id, ok := ParseUploadKey(key); ok || id != "" {
			t.Errorf("ParseUploadKey of %q: got %q, %t, want none", key, id, ok)
		}
	}
}

func TestParseInboxKey(t *testing.T) {
	for key, want := range map[string][2]string{
		"inbox/a@example.org/film.mp4":             {"a@example.org", "film.mp4"},
		"inbox/a+b@example.org/film.mp4":           {"a+b@example.org", "film.mp4"},
		"inbox/A.B@Example.ORG/Film.MP4":           {"a.b@example.org", "Film.MP4"},
		"inbox/a@example.org/my film #1 +.mp4":     {"a@example.org", "my film #1 +.mp4"},
		"inbox/a@example.org/deep/er/film.mp4":     {"a@example.org", "film.mp4"},
		"inbox/a@example.org/日本語 ü.mp4":            {"a@example.org", "日本語 ü.mp4"},
		"inbox/ä@exämple.org/x":                    {"ä@exämple.org", "x"},
		"inbox/a@example.org/..film":               {"a@example.org", "..film"},
		"inbox/a@example.org/100%25 & more?.mp4":   {"a@example.org", "100%25 & more?.mp4"},
		"inbox/odd name@example.org/tab\tfilm.mp4": {"odd name@example.org", "tab\tfilm.mp4"},
	} {
		email, filename, ok := ParseInboxKey(key)
		if got := [2]string{email, filename}; !ok || got != want {
			t.Errorf("ParseInboxKey of %q: got %q, %t, want %q", key, got, ok, want)
		}
	}
	for _, key := range []string{
		"", "inbox", "inbox/", "inbox/film.mp4", "inbox/a@example.org", "inbox/a@example.org/",
		"inbox/a@example.org/folder/", "inbox//film.mp4", "inbox/nobody/film.mp4", "inbox/@/film.mp4",
		"inbox/a@/film.mp4", "inbox/@example.org/film.mp4", "inbox/a@example.org/..",
		"inbox/a@example.org/../b@example.org/film.mp4", "inbox/a@example.org/./film.mp4",
		"inbox/a@example.org/\xff.mp4",
		"uploads/a@example.org/film.mp4", "/inbox/a@example.org/film.mp4",
	} {
		if email, filename, ok := ParseInboxKey(key); ok || email != "" || filename != "" {
			t.Errorf("ParseInboxKey of %q: got %q, %q, %t, want none", key, email, filename, ok)
		}
	}
}

func TestNew(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.FixedZone("", 3600))
	c, err := New(Params{
		OwnerID: "u1", OwnerEmail: "a@example.org", Filename: "f.mp4", Size: 7, UploadWindow: time.Hour,
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	checkRecord(t, &c, now)
	if c.State != AwaitingUpload || c.Revision != 1 || c.IdempotencyKey != c.ID ||
		c.Object.Key != UploadKey("u1", c.ID) || c.MP3.ID == "" || c.MP3.ID == c.ID || c.Outbox == nil {
		t.Errorf("new conversion: %+v", c)
	}
	if want := now.Add(30 * time.Second).Truncate(time.Millisecond); !c.WakeAt.Equal(want) {
		t.Errorf("first look at %s, want %s", c.WakeAt, want)
	}
	if _, err := New(Params{OwnerID: "u1"}, now); err == nil {
		t.Error("New without an owner's address: no error")
	}
}

func TestNewIDSorts(t *testing.T) {
	last := ""
	for range 1000 {
		id := NewID()
		if id <= last || len(id) != 36 || strings.ToLower(id) != id {
			t.Fatalf("id %q after %q", id, last)
		}
		last = id
	}
}

func TestIDs(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-([47])[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	before := time.Now().UnixMilli()
	for range 1000 {
		c, err := New(Params{OwnerID: "u", OwnerEmail: "u@example.org"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		id, mp3 := c.ID, c.MP3.ID
		if m := form.FindStringSubmatch(id); m == nil || m[1] != "7" {
			t.Fatalf("%q is no UUID version 7", id)
		}
		if m := form.FindStringSubmatch(mp3); m == nil || m[1] != "4" {
			t.Fatalf("%q is no UUID version 4", mp3)
		}
		if seen[id] || seen[mp3] {
			t.Fatalf("%q or %q was drawn before", id, mp3)
		}
		seen[id], seen[mp3] = true, true
		ms, err := strconv.ParseInt(strings.ReplaceAll(id[:13], "-", ""), 16, 64)
		if err != nil || ms < before || ms > time.Now().UnixMilli() {
			t.Fatalf("%q was not drawn just now: %d, %v", id, ms, err)
		}
	}
}

func TestClock(t *testing.T) {
	for seconds, want := range map[float64]string{0: "0:00", 0.2: "0:00", 59.6: "1:00", 61: "1:01", 3599.4: "59:59", 3600: "1:00:00", 36061: "10:01:01"} {
		if got := Clock(seconds); got != want {
			t.Errorf("%v s: %s, want %s", seconds, got, want)
		}
	}
}

func TestNoteString(t *testing.T) {
	for want, n := range map[string]Note{
		"At 1:02: A pause. (gap)": {NoteGap, "A pause.", 62},
		"Too loud. (clipped)":     {NoteClipped, "Too loud.", 0},
	} {
		if n.String() != want {
			t.Errorf("got %q, want %q", n, want)
		}
	}
}
