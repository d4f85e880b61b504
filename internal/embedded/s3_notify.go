package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"tonearm/internal/blob"
)

// The webhook may delay the answer to the client by at most this long.
const webhookTimeout = 2 * time.Second

const maxNameLength = 255 // bytes between two slashes

// notifying is a backend that has created objects on the disk, and reports them,
// before the client gets its answer. A POST form arrives as PutObject too. When the server stops, it
// cancels the contexts of requests although it lets the requests finish. So
// every method that stores uses WithoutCancel.
type notifying struct {
	backend.Backend
	disk     disk
	sender   *sender
	accounts accounts
}

// CreateMultipartUpload refuses a name that the file system cannot hold. The
// gateway would notice that only when it joins the parts, and report it as its
// own error.
func (n notifying) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (s3response.InitiateMultipartUploadResult, error) {
	for name := range strings.SplitSeq(*in.Key, "/") {
		if len(name) > maxNameLength {
			return s3response.InitiateMultipartUploadResult{}, s3err.GetKeyTooLongErr(int64(len(name)), maxNameLength)
		}
	}
	out, err := n.Backend.CreateMultipartUpload(ctx, in)
	if err == nil {
		err = n.disk.settle(*in.Bucket, filepath.Join(uploadDir(*in.Key), out.UploadId))
	}
	return out, err
}

func (n notifying) UploadPart(ctx context.Context, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	out, err := n.Backend.UploadPart(context.WithoutCancel(ctx), in)
	if err == nil {
		err = n.disk.settlePart(*in.Bucket, *in.Key, *in.UploadId, *in.PartNumber)
	}
	return out, err
}

func (n notifying) UploadPartCopy(ctx context.Context, in *s3.UploadPartCopyInput) (s3response.CopyPartResult, error) {
	out, err := n.Backend.UploadPartCopy(context.WithoutCancel(ctx), in)
	if err == nil {
		err = n.disk.settlePart(*in.Bucket, *in.Key, *in.UploadId, *in.PartNumber)
	}
	return out, err
}

func (n notifying) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	in.Body = steadyForm(ctx, in.Body)
	out, err := n.Backend.PutObject(context.WithoutCancel(ctx), in)
	if err == nil {
		err = n.created(ctx, "ObjectCreated:Put", *in.Bucket, *in.Key)
	}
	return out, err
}

func (n notifying) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	out, err := n.Backend.CopyObject(context.WithoutCancel(ctx), in)
	if err == nil {
		err = n.created(ctx, "ObjectCreated:Copy", *in.Bucket, *in.Key)
	}
	return out, err
}

func (n notifying) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (s3response.CompleteMultipartUploadResult, string, error) {
	out, version, err := n.Backend.CompleteMultipartUpload(context.WithoutCancel(ctx), in)
	if err == nil {
		err = n.created(ctx, "ObjectCreated:CompleteMultipartUpload", *in.Bucket, *in.Key)
	}
	return out, version, err
}

// created has a new object on the disk and reports it. If the disk fails, the
// object is removed: the client gets an error, and its next try must not find it.
func (n notifying) created(ctx context.Context, name, bucket, key string) error {
	if err := n.disk.settle(bucket, key); err != nil {
		_, failed := n.DeleteObject(context.WithoutCancel(ctx), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
		return errors.Join(err, failed)
	}
	if n.sender == nil || !notified(key) {
		return nil
	}
	e := blob.Event{Name: name, Bucket: bucket, Key: key, Time: time.Now()}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), webhookTimeout)
	defer cancel()
	head, err := n.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err == nil {
		if head.ETag != nil {
			e.ETag = blob.TrimETag(*head.ETag)
		}
		if head.ContentLength != nil {
			e.Size = *head.ContentLength
		}
		err = n.sender.send(ctx, e)
	}
	if err != nil {
		n.sender.log.Warn("could not send a notification", "event", name, "err", err)
	}
	return nil
}

func notified(key string) bool {
	for _, prefix := range blob.NotifyPrefixes() {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// sender posts events to the webhook.
type sender struct {
	url, token string
	client     *http.Client
	log        *slog.Logger
}

// newSender returns nil if there is no webhook.
func newSender(config s3Config, log *slog.Logger) *sender {
	if config.WebhookURL == "" {
		return nil
	}
	return &sender{config.WebhookURL, config.WebhookToken, &http.Client{Timeout: webhookTimeout}, log}
}

func (s *sender) send(ctx context.Context, e blob.Event) error {
	body, err := blob.FormatNotification(e)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.token)
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the webhook answered %s", resp.Status)
	}
	return nil
}
