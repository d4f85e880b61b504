package gateway

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"tonearm/internal/account/jwttoken"
	"tonearm/internal/api"
	"tonearm/internal/conversion"
)

// TestDownload follows every way to an MP3 to its bytes.
func TestDownload(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	c := s.advance(u.announce(3, false).ID, conversion.Done)
	other := s.advance(u.announce(3, false).ID, conversion.Done)
	_, err := s.o.Objects.Put(t.Context(), c.MP3.Key, strings.NewReader("mp3"))
	check(t, err)
	token, _, err := s.o.Tokens.Download(c.MP3.ID)
	check(t, err)

	m := decode[api.MP3](u.call("GET", "/v1/mp3s/"+c.MP3.ID, nil).want(200))
	equal(t, "name", m.Name, "Ünder way.mp3")
	equal(t, "conversion", m.ConversionID, c.ID)

	bearer := []string{"Authorization", "Bearer " + u.token}
	req, _ := http.NewRequest(http.MethodGet, "/", nil)
	req.SetBasicAuth("a@example.org", password)
	basic := []string{"Authorization", req.Header.Get("Authorization")}
	plain := "/download?mp3_id=" + c.MP3.ID
	for name, r := range map[string]reply{
		"interface": s.send("GET", "/v1/mp3s/"+c.MP3.ID+"/download", nil, bearer...),
		"bearer":    s.send("GET", plain, nil, bearer...),
		"basic":     s.send("GET", plain, nil, basic...),
		"link":      s.send("GET", plain+"&token="+url.QueryEscape(token), nil),
	} {
		r.want(http.StatusFound)
		equal(t, name+": caching", r.header.Get("Cache-Control"), "no-store")
		equal(t, name+": referrer", r.header.Get("Referrer-Policy"), "no-referrer")
		res, err := http.Get(r.header.Get("Location"))
		check(t, err)
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		equal(t, name+": content", string(body), "mp3")
		equal(t, name+": type", res.Header.Get("Content-Type"), "audio/mpeg")
		if d := res.Header.Get("Content-Disposition"); !strings.HasPrefix(d, "attachment") || !strings.Contains(d, "%C3%9Cnder%20way.mp3") {
			t.Errorf("%s: Content-Disposition is %q", name, d)
		}
	}

	s.send("GET", "/v1/mp3s/"+c.MP3.ID+"/download", nil, basic...).want(401, "login_required")
	s.send("GET", plain, nil).want(401, "login_required")
	s.send("GET", plain+"&token=x", nil).want(403, "link_invalid")
	s.send("GET", "/download?token="+token, nil).want(403, "link_invalid")
	s.send("GET", "/download?mp3_id="+other.MP3.ID+"&token="+token, nil).want(403, "link_invalid")
	s.send("GET", plain+"&token="+u.token, nil).want(403, "link_invalid") // an access token
	u.call("GET", "/v1/conversions/"+c.ID, nil, "Authorization", "Bearer "+token).want(401, "invalid_token")
	u.call("GET", "/download", nil).want(404, "not_found")

	// A browser shows a page.
	page := s.send("GET", plain+"&token=x", nil, "Accept", "text/html,*/*").want(403)
	if !strings.Contains(string(page.body), "This link has expired") || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
		t.Errorf("page is %v %s", page.header, page.body)
	}

	// The link ends with the conversion; before the conversion is done there is
	// no link.
	u.call("DELETE", "/v1/conversions/"+c.ID, nil).want(204)
	s.send("GET", plain+"&token="+token, nil).want(404, "not_found")
	running := s.advance(u.announce(3, false).ID, conversion.Running)
	u.call("GET", "/v1/mp3s/"+running.MP3.ID, nil).want(404, "not_found")
}

func TestExpiredLink(t *testing.T) {
	s := start(t)
	keys, err := jwttoken.LoadOrCreate(t.TempDir() + "/keys.pem")
	check(t, err)
	now := time.Now()
	clock := func() time.Time { return now }
	tokens, err := jwttoken.New(jwttoken.Options{Keys: keys, Issuer: "http://localhost", Now: clock})
	check(t, err)
	s.o.Tokens = tokens
	u := s.user("a@example.org")
	c := s.advance(u.announce(3, false).ID, conversion.Done)
	token, expires, err := tokens.Download(c.MP3.ID)
	check(t, err)
	link := "/download?mp3_id=" + c.MP3.ID + "&token=" + token
	s.send("GET", link, nil).want(302)
	now = expires.Add(time.Minute)
	s.send("GET", link, nil).want(403, "link_invalid")
	u.call("GET", "/v1/conversions", nil).want(401, "invalid_token")
}

// An MP3 that went at the end of its time is still described, and says so.
func TestRemovedMP3(t *testing.T) {
	s := start(t)
	u := s.user("a@example.org")
	c := s.advance(u.announce(3, false).ID, conversion.Done)
	_, err := s.o.Records.Update(t.Context(), c.ID, func(c *conversion.Conversion) error { return c.MP3Removed(time.Now()) })
	check(t, err)
	token, _, err := s.o.Tokens.Download(c.MP3.ID)
	check(t, err)
	if m := decode[api.MP3](u.call("GET", "/v1/mp3s/"+c.MP3.ID, nil).want(200)); !m.Removed || m.Until != nil {
		t.Errorf("described as %+v", m)
	}
	u.call("GET", "/v1/mp3s/"+c.MP3.ID+"/download", nil).want(410, "mp3_removed")
	s.send("GET", "/download?mp3_id="+c.MP3.ID+"&token="+token, nil).want(410, "mp3_removed")
}
