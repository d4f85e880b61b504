package s3blob

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/cors"
	"github.com/minio/minio-go/v7/pkg/notification"

	"tonearm/internal/blob"
)

const ruleID = "tonearm"

// Prepare makes what is missing and leaves every other rule of the bucket
// alone. Processes that prepare it at once write the same. A store that has no
// CORS rules for buckets is accepted as it is (in MinIO the server's
// environment says who may use it), and so are rules that the credentials may not
// change.
func (s *Store) Prepare(ctx context.Context) error {
	if err := s.makeBucket(ctx); err != nil {
		return fmt.Errorf("make bucket %s: %w", s.bucket, translate(err, ""))
	}
	if err := s.allowOrigins(ctx); err != nil {
		return fmt.Errorf("set CORS rules of bucket %s: %w", s.bucket, translate(err, ""))
	}
	if err := s.notify(ctx); err != nil {
		return fmt.Errorf("set notification of bucket %s: %w", s.bucket, translate(err, ""))
	}
	return nil
}

func (s *Store) makeBucket(ctx context.Context) error {
	exists, err := s.core.BucketExists(ctx, s.bucket)
	if exists || err != nil {
		return err
	}
	made := s.core.MakeBucket(ctx, s.bucket, minio.MakeBucketOptions{Region: s.region})
	if made == nil {
		s.log.Info("made bucket", "bucket", s.bucket)
		return nil
	}
	if exists, err := s.core.BucketExists(ctx, s.bucket); err == nil && exists {
		return nil // another process was faster
	}
	return made
}

func (s *Store) allowOrigins(ctx context.Context) error {
	want := cors.Rule{
		ID:            ruleID,
		AllowedOrigin: s.origins,
		AllowedMethod: []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost},
		AllowedHeader: []string{"*"},
		ExposeHeader:  []string{"ETag", "Content-Range"},
		MaxAgeSeconds: 3600,
	}
	config, err := s.core.GetBucketCors(ctx, s.bucket)
	if err == nil && config == nil {
		config = cors.NewConfig(nil)
	}
	if err == nil {
		i := slices.IndexFunc(config.CORSRules, func(r cors.Rule) bool { return r.ID == ruleID })
		switch {
		case len(s.origins) == 0 && i < 0:
			return nil
		case len(s.origins) == 0 && len(config.CORSRules) == 1:
			config = nil // removes the configuration: one without a rule is refused
		case len(s.origins) == 0:
			config.CORSRules = slices.Delete(config.CORSRules, i, i+1)
		case i >= 0 && equal(config.CORSRules[i], want):
			return nil
		case i >= 0:
			config.CORSRules[i] = want
		default:
			config.CORSRules = append(config.CORSRules, want)
		}
		err = s.core.SetBucketCors(ctx, s.bucket, config)
	}
	var r minio.ErrorResponse
	switch {
	case !errors.As(err, &r):
		return err
	case r.StatusCode == http.StatusNotImplemented:
		s.log.Info("the object store has no CORS rules for single buckets; its own CORS setting applies", "bucket", s.bucket)
	case r.StatusCode == http.StatusForbidden: // MinIO says so to everybody but root
		s.log.Warn("this user may not set the bucket's CORS rules; those that it has, or the store's own setting, apply", "bucket", s.bucket)
	default:
		return err
	}
	return nil
}

func equal(a, b cors.Rule) bool {
	return slices.Equal(a.AllowedOrigin, b.AllowedOrigin) && slices.Equal(a.AllowedMethod, b.AllowedMethod) &&
		slices.Equal(a.AllowedHeader, b.AllowedHeader) && slices.Equal(a.ExposeHeader, b.ExposeHeader) &&
		a.MaxAgeSeconds == b.MaxAgeSeconds
}

func (s *Store) notify(ctx context.Context) error {
	if s.arn == nil {
		return nil
	}
	config, err := s.core.GetBucketNotification(ctx, s.bucket)
	if err != nil {
		return err
	}
	events := []notification.EventType{notification.ObjectCreatedAll}
	changed := false
	for _, prefix := range blob.NotifyPrefixes() {
		if slices.ContainsFunc(config.QueueConfigs, func(q notification.QueueConfig) bool {
			return q.Queue == s.arn.String() && q.Equal(events, prefix, "")
		}) {
			continue
		}
		c := notification.NewConfig(*s.arn)
		c.ID = ruleID + "-" + prefix[:len(prefix)-1]
		c.AddEvents(events...)
		c.AddFilterPrefix(prefix)
		config.QueueConfigs = append(config.QueueConfigs, notification.QueueConfig{Config: c, Queue: s.arn.String()})
		changed = true
	}
	if !changed {
		return nil
	}
	return s.core.SetBucketNotification(ctx, s.bucket, config)
}
