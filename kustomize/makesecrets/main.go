// Command makesecrets fills a Secret of the cluster that it runs in from a
// template, so that nobody has to invent passwords for a standalone
// installation. It runs as a Job each time somebody applies the overlay. Values
// that were drawn once stay, missing values are added, and values that only
// depend on others follow them.
//
// A line of the template is a key, "=", and a value in which
//
//	$(hex)      stands for 32 random bytes in hex,
//	$(ed25519)  for a new private key in PEM,
//	$(KEY)      for the value of a key of an earlier line.
//
// Its service account needs create on secrets, and get and patch on the one of
// --name.
package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"tonearm/internal/version"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount" // of the pod

func main() {
	name := flag.String("name", "tonearm", "name of the Secret, in the pod's namespace")
	path := flag.String("template", "/etc/makesecrets/secrets.txt", "what it holds")
	showVersion := flag.Bool("version", false, "print the version and exit")
	flag.Parse()
	if *showVersion {
		fmt.Println("makesecrets version", version.Details())
		return
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, log, *name, *path); err != nil {
		log.Error("no secret made", "error", err)
		cancel()
		os.Exit(1)
	}
}

func run(ctx context.Context, log *slog.Logger, name, path string) error {
	text, err := os.ReadFile(path) //nolint:gosec // the operator names it
	if err != nil {
		return err
	}
	c, err := inCluster(name)
	if err != nil {
		return err
	}
	changed, err := c.apply(ctx, string(text))
	if err != nil {
		return err
	}
	slices.Sort(changed)
	log.Info("secret is complete", "name", name, "keys_written", changed)
	return nil
}

// cluster is the API server, for one Secret.
type cluster struct {
	http                         *http.Client
	url, namespace, name, bearer string
}

// inCluster returns the cluster that this pod runs in.
func inCluster(name string) (*cluster, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("this is no pod: KUBERNETES_SERVICE_HOST is not set")
	}
	var files [3]string
	for i, file := range []string{"token", "namespace", "ca.crt"} {
		b, err := os.ReadFile(filepath.Join(account, file))
		if err != nil {
			return nil, err
		}
		files[i] = strings.TrimSpace(string(b))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(files[2])) {
		return nil, errors.New("the service account holds no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	return &cluster{
		http: &http.Client{Transport: transport}, url: "https://" + net.JoinHostPort(host, port),
		namespace: files[1], name: name, bearer: files[0],
	}, nil
}

// secret is the part of a Secret that matters here.
type secret struct {
	APIVersion string            `json:"apiVersion,omitempty"`
	Kind       string            `json:"kind,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`
	Data       map[string][]byte `json:"data"`
}

// apply makes the Secret hold what the template asks for, and returns the keys
// it wrote.
func (c *cluster) apply(ctx context.Context, template string) ([]string, error) {
	var present struct {
		Data map[string][]byte `json:"data"`
	}
	exists, err := c.call(ctx, http.MethodGet, "/"+c.name, "", nil, &present)
	if err != nil {
		return nil, err
	}
	missing, err := fill(template, present.Data)
	if err != nil || len(missing) == 0 {
		return nil, err
	}
	s := secret{Data: missing}
	if exists {
		_, err = c.call(ctx, http.MethodPatch, "/"+c.name, "application/merge-patch+json", s, nil)
	} else {
		s.APIVersion, s.Kind, s.Metadata = "v1", "Secret", map[string]string{"name": c.name}
		_, err = c.call(ctx, http.MethodPost, "", "application/json", s, nil)
	}
	keys := make([]string, 0, len(missing))
	for key := range missing {
		keys = append(keys, key)
	}
	return keys, err
}

// call sends one request about the Secrets of the namespace. It returns false
// if there is no such Secret.
func (c *cluster) call(ctx context.Context, method, path, contentType string, in, out any) (bool, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return false, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+"/api/v1/namespaces/"+c.namespace+"/secrets"+path, body)
	if err != nil {
		return false, err
	}
	req.Header.Set("Authorization", "Bearer "+c.bearer)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound && method == http.MethodGet:
		return false, nil
	case resp.StatusCode >= http.StatusMultipleChoices:
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<12))
		return false, fmt.Errorf("%s secrets%s: %s: %s", method, path, resp.Status, text)
	case out != nil:
		return true, json.NewDecoder(resp.Body).Decode(out)
	}
	return true, nil
}

var reference = regexp.MustCompile(`\$\(([a-z0-9.-]+)\)`)

// fill returns the values of the template that are missing from present, and
// those that have changed because they follow from others.
func fill(template string, present map[string][]byte) (map[string][]byte, error) {
	values, missing := map[string]string{}, map[string][]byte{}
	for line := range strings.Lines(template) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, text, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("template: no = after %q", key)
		}
		drawn := false
		var failed error
		value := reference.ReplaceAllStringFunc(text, func(ref string) string {
			switch name := ref[2 : len(ref)-1]; name {
			case "hex":
				drawn = true
				b := make([]byte, 32)
				_, _ = rand.Read(b) // never fails
				return hex.EncodeToString(b)
			case "ed25519":
				drawn = true
				key, err := newKey()
				failed = errors.Join(failed, err)
				return key
			default:
				v, ok := values[name]
				if !ok {
					failed = errors.Join(failed, fmt.Errorf("template: %s refers to %s, which no earlier line has", key, name))
				}
				return v
			}
		})
		if failed != nil {
			return nil, failed
		}
		old, here := present[key]
		if here && drawn {
			value = string(old)
		}
		values[key] = value
		if !here || string(old) != value {
			missing[key] = []byte(value)
		}
	}
	return missing, nil
}

// newKey draws a key as openssl genpkey -algorithm ed25519 does.
func newKey() (string, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}
