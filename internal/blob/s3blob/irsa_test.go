package s3blob_test

import (
	"context"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"tonearm/internal/blob"
	"tonearm/internal/blob/s3blob"
)

const (
	identity = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJnYXRld2F5In0.c2ln"
	roleARN  = "arn:aws:iam::111122223333:role/tonearm-gateway"
)

// sts is a stand-in for AWS's STS, which cannot be reached from tests: it reads
// AssumeRoleWithWebIdentity as the SDK sends it, and answers in AWS's form. No
// signature of the identity token is checked.
type sts struct {
	URL   string
	calls atomic.Int32
	give  func() (credentials.Value, error)
}

// startSTS sets the environment that EKS gives to a pod with a role, except for
// the address of STS.
func startSTS(t *testing.T, give func() (credentials.Value, error)) *sts {
	t.Helper()
	s := &sts{give: give}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	isolate(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(identity), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ENDPOINT_URL_STS", server.URL)
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", token)
	t.Setenv("AWS_ROLE_ARN", roleARN)
	return s
}

// isolate keeps out the machine's own settings and its metadata service.
func isolate(t *testing.T) {
	t.Helper()
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func (s *sts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.calls.Add(1)
	w.Header().Set("Content-Type", "text/xml")
	refuse := func(code string) {
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `<ErrorResponse><Error><Type>Sender</Type><Code>`+code+`</Code><Message>refused `+r.FormValue("WebIdentityToken")+`</Message></Error></ErrorResponse>`)
	}
	if r.FormValue("Action") != "AssumeRoleWithWebIdentity" || r.FormValue("RoleArn") != roleARN {
		refuse("AccessDenied")
		return
	}
	if r.FormValue("WebIdentityToken") != identity {
		refuse("InvalidIdentityToken")
		return
	}
	v, err := s.give()
	if err != nil {
		refuse("AccessDenied")
		return
	}
	type keys struct {
		AccessKeyId, SecretAccessKey, SessionToken, Expiration string //nolint:revive // STS's names
	}
	var answer struct {
		XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleWithWebIdentityResponse"`
		Keys    keys     `xml:"AssumeRoleWithWebIdentityResult>Credentials"`
	}
	answer.Keys = keys{v.AccessKeyID, v.SecretAccessKey, v.SessionToken, v.Expiration.UTC().Format(time.RFC3339)}
	xml.NewEncoder(w).Encode(answer)
}

func TestWebIdentity(t *testing.T) {
	end := time.Now().Add(20 * time.Minute).Truncate(time.Second)
	s := startSTS(t, func() (credentials.Value, error) {
		return credentials.Value{AccessKeyID: "ASIA", SecretAccessKey: "secret", SessionToken: "a/session+token=", Expiration: end}, nil
	})
	store, err := s3blob.New(s3blob.Options{Endpoint: "http://127.0.0.1:1", PublicEndpoint: "https://s3.example.org", Bucket: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if n := s.calls.Load(); n != 0 {
		t.Errorf("New made %d calls", n)
	}
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			r, err := store.PresignPut(t.Context(), "uploads/u/c/source", 1, time.Hour, blob.Audience(i%2))
			if err != nil {
				t.Error(err)
				return
			}
			u, err := url.Parse(r.URL)
			if err != nil {
				t.Error(err)
				return
			}
			if got := u.Query(); got.Get("X-Amz-Security-Token") != "a/session+token=" || !strings.HasPrefix(got.Get("X-Amz-Credential"), "ASIA/") {
				t.Error("not signed with the session")
			}
			if r.ExpiresAt.After(end) || end.Sub(r.ExpiresAt) > 2*time.Second {
				t.Errorf("got %s, want %s", r.ExpiresAt, end)
			}
		})
	}
	group.Wait()
	if n := s.calls.Load(); n != 1 {
		t.Errorf("got %d calls, want one for all", n)
	}
	r, err := store.PresignGet(t.Context(), "mp3s/u/c/1.mp3", "", "", time.Minute, blob.Internal)
	if left := time.Until(r.ExpiresAt); err != nil || left <= 50*time.Second || left > time.Minute {
		t.Errorf("got %s, %v, want the minute asked for", left, err)
	}
}

func TestNoCredentials(t *testing.T) {
	for name, tt := range map[string]struct {
		arrange func(t *testing.T)
		want    string
	}{
		"none": {func(*testing.T) {}, "no access key is set"},
		"no token file": {func(t *testing.T) {
			startSTS(t, nil)
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/none/token")
		}, "/none/token"},
		"wrong token": {func(t *testing.T) {
			startSTS(t, nil)
			file := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(file, []byte("eyJ-of-another"), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", file)
		}, "STS AssumeRoleWithWebIdentity: InvalidIdentityToken"},
		"wrong role": {func(t *testing.T) {
			startSTS(t, nil)
			t.Setenv("AWS_ROLE_ARN", roleARN+"2")
		}, "STS AssumeRoleWithWebIdentity: AccessDenied"},
		"no STS": {func(t *testing.T) {
			startSTS(t, nil)
			t.Setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1/?secret")
		}, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			isolate(t)
			tt.arrange(t)
			store, err := s3blob.New(s3blob.Options{Endpoint: "http://127.0.0.1:1", Bucket: "test"})
			if err != nil {
				t.Fatal(err)
			}
			_, presign := store.PresignPut(t.Context(), "uploads/u/c/source", 1, time.Hour, blob.Public)
			for what, err := range map[string]error{"presign": presign, "ping": store.Ping(t.Context())} {
				if err == nil {
					t.Fatalf("%s: want an error", what)
				}
				text := err.Error()
				if !strings.Contains(text, "object store credentials: ") || !strings.Contains(text, tt.want) {
					t.Errorf("%s: got %s", what, text)
				}
				if strings.Contains(text, "eyJ") || strings.Contains(text, "secret") || strings.Contains(text, "http://") {
					t.Errorf("%s says too much: %s", what, text)
				}
			}
		})
	}
}

// The session is real: MinIO's STS gives it and MinIO checks it. Only the
// exchange of the identity token for it is the stand-in's.
func TestMinIOSession(t *testing.T) {
	address := os.Getenv("TONEARM_TEST_S3")
	if address == "" {
		if os.Getenv("TONEARM_TEST_REQUIRE") != "" {
			t.Fatal("TONEARM_TEST_S3 must be set")
		}
		t.Skip("TONEARM_TEST_S3 is not set")
	}
	role, err := credentials.NewSTSAssumeRole(address, credentials.STSAssumeRoleOptions{
		AccessKey: "tonearm", SecretKey: "tonearm-secret", Location: "us-east-1", DurationSeconds: 900,
	})
	if err != nil {
		t.Fatal(err)
	}
	session, err := role.GetWithContext(&credentials.CredContext{Client: http.DefaultClient, Context: t.Context()})
	if err != nil {
		t.Fatal(err)
	}
	startSTS(t, func() (credentials.Value, error) { return session, nil })
	store, err := s3blob.New(s3blob.Options{Endpoint: address, Bucket: bucketName()})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}

	const key = "uploads/u/c/source"
	put, err := store.PresignPut(t.Context(), key, 5, time.Hour, blob.Public)
	if err != nil {
		t.Fatal(err)
	}
	if put.ExpiresAt.After(session.Expiration) || session.Expiration.Sub(put.ExpiresAt) > 2*time.Second {
		t.Errorf("got %s, want the session's end, %s", put.ExpiresAt, session.Expiration)
	}
	if code, _ := send(t, put, put.URL, "sound"); code != http.StatusOK {
		t.Fatalf("PUT: got %d", code)
	}
	if o, err := store.Head(t.Context(), key); err != nil || o.Size != 5 {
		t.Errorf("got %+v, %v", o, err)
	}
	get, err := store.PresignGet(t.Context(), key, "", "", time.Hour, blob.Internal)
	if err != nil {
		t.Fatal(err)
	}
	if code, body := send(t, get, get.URL, ""); code != http.StatusOK || body != "sound" {
		t.Errorf("GET: got %d %q", code, body)
	}
	u, err := url.Parse(get.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Del("X-Amz-Security-Token")
	u.RawQuery = q.Encode()
	if code, _ := send(t, get, u.String(), ""); code != http.StatusForbidden {
		t.Errorf("without the session's token: got %d, want 403", code)
	}
}

func send(t *testing.T, r blob.Request, address, body string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, r.Method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal("not a request")
	}
	request.Header = r.Header.Clone()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal("no answer from the store")
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}
