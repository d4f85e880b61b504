package config

import (
	"slices"
	"testing"

	"github.com/spf13/pflag"
)

// TestPagesOfTheStore: which pages may use the bucket, by the flags of a service that
// sets its rules and of one that does not.
func TestPagesOfTheStore(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want []string
	}{
		"default":             {nil, []string{"http://localhost:8080"}},
		"a public URL":        {[]string{"--public-url=https://tonearm.example.org/below"}, []string{"https://tonearm.example.org"}},
		"others":              {[]string{"--cors-origins=https://a.example.org,https://B.example.org/"}, []string{"http://localhost:8080", "https://a.example.org", "https://b.example.org"}},
		"as before, for all":  {[]string{"--s3-cors-origins=*"}, []string{"*"}},
		"as before, for some": {[]string{"--s3-cors-origins=https://c.example.org", "--cors-origins=https://a.example.org"}, []string{"https://c.example.org"}},
		"no origin":           {[]string{"--cors-origins=*"}, nil},
	} {
		var s Stores
		f := pflag.NewFlagSet("dispatcher", pflag.ContinueOnError)
		s.BindS3(f)
		s.BindPages(f)
		if err := f.Parse(tt.args); err != nil {
			t.Fatal(err)
		}
		got, err := s.origins()
		if (err == nil) != (tt.want != nil) || !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, tt.want)
		}
	}
	var s Stores
	s.BindS3(pflag.NewFlagSet("gateway", pflag.ContinueOnError))
	if got, err := s.origins(); err != nil || len(got) != 0 {
		t.Errorf("of a gateway: %q, %v", got, err)
	}
}
