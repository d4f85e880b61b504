package upgrade

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"tonearm/internal/api"
	"tonearm/internal/conversion"
	"tonearm/internal/waittest"
	"tonearm/test/world"
)

// end waits until a file has ended, and notes how the API shows it. Later calls
// compare with that.
func (s *site) end(f *file) {
	s.t.Helper()
	if asked := f.conv; !f.ended {
		f.conv = s.user.Final(f.conv.ID, limit)
		if got, want := wishes(f.conv), wishes(asked); asked.Filename != "" && !reflect.DeepEqual(got, want) {
			s.t.Errorf("%s: ended with the wishes %v, want %v", f.what, got, want)
		}
	}
	var shown map[string]any
	if status, body := s.user.Do("GET", "/v1/conversions/"+f.conv.ID, nil, &shown); status != http.StatusOK {
		s.t.Fatalf("%s: get: %d %s", f.what, status, body)
	}
	shown = settled(shown)
	if !f.ended {
		if f.conv.State != f.want || f.code != "" && f.conv.Error.Code != f.code {
			s.t.Fatalf("%s: ended as %s %+v, want %s %s", f.what, f.conv.State, f.conv.Error, f.want, f.code)
		}
		f.ended, f.shown = true, shown
		if f.want == conversion.Done {
			f.link = s.location(s.user.Server+"/v1/mp3s/"+f.conv.MP3.ID+"/download", s.user.Token)
		}
	}
	if !reflect.DeepEqual(shown, f.shown) {
		s.t.Errorf("%s is shown otherwise:\n got %v\nwant %v", f.what, shown, f.shown)
	}
}

// settled removes from a conversion what still changes after its end, when its
// mail is sent. Of a failure's message it keeps the sentence in the record; some
// versions add advice.
func settled(shown map[string]any) map[string]any {
	if failure, ok := shown["error"].(map[string]any); ok {
		failure["message"], _, _ = strings.Cut(fmt.Sprint(failure["message"]), ". ")
		failure["message"] = strings.TrimSuffix(fmt.Sprint(failure["message"]), ".")
	}
	for _, moving := range []string{"revision", "updated_at"} {
		delete(shown, moving)
	}
	delete(shown, "sent") // the previous version does not know it
	return shown
}

// wishes returns what was asked for when a conversion was created.
func wishes(c api.Conversion) []any { return []any{c.Filename, c.Size, c.Options, c.Notify} }

// location returns where a download is redirected to.
func (s *site) location(url, token string) string {
	s.t.Helper()
	req, _ := http.NewRequestWithContext(s.t.Context(), "GET", url, nil)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	to := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusFound || to == "" {
		s.t.Fatalf("download: %s", resp.Status)
	}
	return to
}

// letters returns all mails about outcomes that ever came.
func (s *site) letters() []world.Letter {
	return slices.DeleteFunc(s.everyLetter(), aboutAccount)
}

// accountLetters returns the other mails.
func (s *site) accountLetters() []world.Letter {
	return slices.DeleteFunc(s.everyLetter(), func(l world.Letter) bool { return !aboutAccount(l) })
}

func aboutAccount(l world.Letter) bool { return strings.HasPrefix(l.Subject, "Tonearm: ") }

func (s *site) everyLetter() []world.Letter {
	letters := s.sink.Letters(s.t)
	if s.outbox != nil {
		letters = append(letters, s.outbox()...)
	}
	return letters
}

// mails reports whether a mail about the file must come.
func (f *file) mails() bool {
	return f.conv.Notify != conversion.NotifyNone && (f.want == conversion.Done || f.want == conversion.Failed)
}

// mailed waits until no file that has ended owes a mail. Exactly one mail must
// have come about each of them.
func (s *site) mailed() {
	s.t.Helper()
	want := map[string]*file{} // by the id in the mail
	for _, f := range s.files {
		switch {
		case !f.ended || !f.mails():
		case f.want == conversion.Done:
			want[f.conv.MP3.ID] = f
		default:
			want[f.conv.ID] = f
		}
	}
	waittest.Until(s.t, limit, "every mail has come", func() bool { return len(s.letters()) >= len(want) })
	for _, f := range want {
		waittest.Until(s.t, limit, "the mail is recorded as sent", func() bool {
			return s.records.value(f.conv.ID, "notice.state") == string(conversion.NoticeSent)
		})
	}
	ids, mails := map[string]int{}, map[string]int{}
	for _, l := range s.letters() {
		ids[l.MessageID]++
		for id := range want {
			if strings.Contains(l.Text, id) {
				mails[id]++
			}
		}
	}
	for id, f := range want {
		if mails[id] != 1 {
			s.t.Errorf("%s: %d mails, want 1", f.what, mails[id])
		}
	}
	if n := len(s.letters()); n != len(want) || len(ids) != len(want) {
		s.t.Errorf("%d mails with %d ids, want %d", n, len(ids), len(want))
	}
}

// check counts everything, and follows every link there ever was.
func (s *site) check() {
	s.t.Helper()
	done := map[string]*file{}
	for _, f := range s.files {
		if f.want == conversion.Done {
			done[f.conv.MP3.ID] = f
			s.fetch(f, f.link)
		}
	}
	for _, l := range s.letters() {
		if l.Link() == "" {
			continue
		}
		for id, f := range done {
			if strings.Contains(l.Text, id) {
				s.fetch(f, s.location(l.Link(), ""))
			}
		}
	}
	if n := s.records.count(); n != len(s.files) {
		s.t.Errorf("%d documents for %d uploads", n, len(s.files))
	}
	if n := s.objects(); n != len(done) {
		s.t.Errorf("%d MP3s in the store for %d conversions that are done", n, len(done))
	}
	if _, again, _ := s.front.Parts(); again != 0 {
		s.t.Errorf("%d stored parts were sent again", again)
	}
	var list struct{ Conversions []map[string]any }
	if status, body := s.user.Do("GET", "/v1/conversions?limit=200", nil, &list); status != http.StatusOK {
		s.t.Fatalf("list: %d %s", status, body)
	}
	if len(list.Conversions) != len(s.files) {
		s.t.Errorf("%d conversions are listed, want %d", len(list.Conversions), len(s.files))
	}
	listed := map[any]map[string]any{}
	for _, c := range list.Conversions {
		listed[c["id"]] = c
	}
	for _, f := range s.files {
		if got := settled(listed[f.conv.ID]); !reflect.DeepEqual(got, f.shown) {
			s.t.Errorf("%s is listed otherwise:\n got %v\nwant %v", f.what, got, f.shown)
		}
	}
}

// fetch follows a presigned link, and compares the answer with the record.
func (s *site) fetch(f *file, link string) {
	s.t.Helper()
	resp, err := http.Get(link)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if link == f.link && strings.Contains(string(body), unknownAccount) {
		s.fetch(f, s.location(s.server+"/v1/mp3s/"+f.conv.MP3.ID+"/download", s.user.Token))
		return
	}
	if sum := sha256.Sum256(body); resp.StatusCode != http.StatusOK || hex.EncodeToString(sum[:]) != f.conv.MP3.SHA256 {
		s.t.Errorf("%s: its link brought %s and %d bytes, not its MP3", f.what, resp.Status, len(body))
	}
}

// report prints what there was.
func (s *site) report() {
	taken, again, _ := s.front.Parts()
	states := map[conversion.State]int{}
	for _, f := range s.files {
		states[f.want]++
	}
	var ended []string
	for _, state := range slices.Sorted(maps.Keys(states)) {
		ended = append(ended, fmt.Sprintf("%d %s", states[state], state))
	}
	fmt.Printf("%s: %d uploads (%s), %d documents, %d MP3 objects, %d mails, %d parts, %d of them sent again\n",
		s.t.Name(), len(s.files), strings.Join(ended, ", "), s.records.count(), s.objects(), len(s.letters()), taken, again)
}
