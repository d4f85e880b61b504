package standalone_test

import (
	"net/http"
	"testing"

	"tonearm/internal/api"
)

// TestOrigins: the pages that --cors-origins lists may ask the gateway and upload to
// the embedded store, and so may those of the public URL, and no others.
func TestOrigins(t *testing.T) {
	o := options(t)
	o.Gateway.CORSOrigins = []string{"https://app.example.org"}
	a, _ := running(t, o)
	c := login(t, a.PublicURL, true)
	cv, err := c.Create(t.Context(), "key", api.NewConversion{Filename: "a.mp4", Size: 3})
	if err != nil {
		t.Fatal(err)
	}
	for origin, want := range map[string]bool{a.PublicURL: true, "https://app.example.org": true, "https://elsewhere.example.org": false, a.PublicURL + "1": false} {
		if err := c.AllowsOrigin(t.Context(), cv.Upload.URL, origin); (err == nil) != want {
			t.Errorf("the store, for %s: %v, want success: %t", origin, err, want)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, a.PublicURL+"/v1/conversions", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		req.Header.Set("Access-Control-Request-Method", http.MethodPost)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Access-Control-Allow-Origin") == origin; got != want {
			t.Errorf("the gateway, for %s: got %t, want %t", origin, got, want)
		}
	}
}
