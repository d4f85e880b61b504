package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
)

// MinIO published both only as modules; these are the newest versions.
const (
	minioVersion = "v0.0.0-20260212201848-7aac2a2c5b7c"
	mcVersion    = "v0.0.0-20250313080218-cf909e1063a9"
)

// Keys of MinIO, and the notification target of every bucket.
const (
	AccessKey = "tonearm"
	SecretKey = "tonearm-secret"
	NotifyARN = "arn:minio:sqs::TONEARM:webhook"
)

// MinIO starts MinIO, and a relay that gets its notifications unless there is a
// Webhook.
func (s *Scratch) MinIO(ctx context.Context) (*Server, error) {
	path, err := installed(ctx, "minio", "github.com/minio/minio", minioVersion)
	if err != nil {
		return nil, err
	}
	mc, err := installed(ctx, "mc", "github.com/minio/mc", mcVersion)
	if err != nil {
		return nil, err
	}
	dir, err := s.Folder("minio")
	if err != nil {
		return nil, err
	}
	relayURL, err := startRelay(ctx, s)
	if err != nil {
		return nil, err
	}
	webhook, authorization := relayURL+eventPath, ""
	if s.Webhook != "" {
		webhook, authorization = s.Webhook, "Bearer "+s.WebhookToken
	}
	port, err := s.port(ctx, "9000")
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort(s.Host, port)
	// Without a queue directory a notification comes within milliseconds, and is
	// lost if its receiver answers with an error.
	p, err := s.Run(ctx, "minio", path, []string{"server", "--quiet", "--address", addr, filepath.Join(dir, "data")},
		"MINIO_ROOT_USER="+AccessKey, "MINIO_ROOT_PASSWORD="+SecretKey,
		"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CALLHOME_ENABLE=off",
		"MINIO_API_CORS_ALLOW_ORIGIN=*", "MINIO_PROMETHEUS_AUTH_TYPE=public",
		"MINIO_NOTIFY_WEBHOOK_ENABLE_TONEARM=on", "MINIO_NOTIFY_WEBHOOK_ENDPOINT_TONEARM="+webhook,
		"MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_TONEARM="+authorization)
	if err != nil {
		return nil, err
	}
	v := &Server{Process: p, Addr: addr, Dir: dir, Env: []string{
		"TONEARM_TEST_S3=http://" + addr, "TONEARM_TEST_S3_ARN=" + NotifyARN,
		"TONEARM_TEST_S3_RELAY=" + relayURL, "TONEARM_TEST_MC=" + mc,
	}}
	v.ask = func(ctx context.Context) error { return ready(ctx, "http://"+addr+"/minio/health/ready") }
	return v, v.Answers(ctx, v.ask)
}

func ready(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, response.Status)
	}
	return nil
}
