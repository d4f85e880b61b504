package s3blob

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	loadTimeout = 10 * time.Second
	// Credentials are renewed with so much life left, or with as much as a URL
	// was asked to have: it dies with the credentials that signed it.
	renewBefore = 15 * time.Minute
	// What still has life is renewed so often at most: a session may be shorter
	// than URLs are asked to be, and an instance's role gives the same again.
	renewPause = 5 * time.Minute
	// For so long a failure answers those who waited for its outcome; else each
	// would wait for a time-out of its own, one after the other.
	failPause = 5 * time.Second
)

// chain gives the credentials that the AWS SDK finds. Its methods but ask are
// called under the lock of the one credentials.Credentials it belongs to.
type chain struct {
	load func(context.Context) (aws.Credentials, error)
	log  *slog.Logger

	asked atomic.Int64 // longest life of a URL asked for, in nanoseconds
	value credentials.Value
	tried time.Time
	err   error // of the last try
}

var _ credentials.Provider = (*chain)(nil)

// defaultChain reads the SDK's settings at each renewal: as rarely as that is,
// nothing need be kept, and what changed in files is seen.
func defaultChain(region string) func(context.Context) (aws.Credentials, error) {
	return func(ctx context.Context) (aws.Credentials, error) {
		c, err := config.LoadDefaultConfig(ctx, config.WithDefaultRegion(region),
			config.WithCredentialsCacheOptions(func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = 0 })) // the true end
		if err != nil {
			return aws.Credentials{}, err
		}
		return c.Credentials.Retrieve(ctx)
	}
}

// ask has the credentials renewed where less than life is left to them.
func (c *chain) ask(life time.Duration) {
	for {
		longest := c.asked.Load()
		if int64(life) <= longest || c.asked.CompareAndSwap(longest, int64(life)) {
			return
		}
	}
}

// IsExpired reports whether the credentials ended, or should be renewed.
func (c *chain) IsExpired() bool {
	if c.value.Expiration.IsZero() {
		return false
	}
	left := time.Until(c.value.Expiration)
	return left <= 0 || left < max(renewBefore, time.Duration(c.asked.Load())) && time.Since(c.tried) >= renewPause
}

// Retrieve is of the interface; clients call the other one.
func (c *chain) Retrieve() (credentials.Value, error) {
	return c.RetrieveWithCredContext(&credentials.CredContext{Context: context.Background()})
}

// RetrieveWithCredContext loads credentials. Where that fails, the ones before
// serve as long as they live.
func (c *chain) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	if c.err != nil && time.Since(c.tried) < failPause {
		return credentials.Value{}, c.err
	}
	ctx, cancel := context.WithTimeout(cc.Context, loadTimeout)
	defer cancel()
	got, err := c.load(ctx)
	if err == nil && got.Expired() {
		err = fmt.Errorf("the credentials of %s ended at %s", got.Source, got.Expires.UTC().Format(time.RFC3339))
	}
	alive := time.Until(c.value.Expiration) > 0
	switch {
	case err == nil:
		if c.value.AccessKeyID == "" {
			c.log.Info("using the AWS SDK's credentials for the object store", "source", got.Source)
		}
		c.value = credentials.Value{
			AccessKeyID:     got.AccessKeyID,
			SecretAccessKey: got.SecretAccessKey,
			SessionToken:    got.SessionToken,
			SignerType:      credentials.SignatureV4,
		}
		if got.CanExpire {
			c.value.Expiration = got.Expires
		}
		c.tried, c.err = time.Now(), nil
	case alive:
		c.tried = time.Now()
		c.log.Warn("could not renew the credentials for the object store", "error", plain(err), "expires_at", c.value.Expiration)
	case cc.Context.Err() != nil: // only this caller's failure
		return credentials.Value{}, fmt.Errorf("object store credentials: %w", cc.Context.Err())
	default:
		c.tried, c.err = time.Now(), fmt.Errorf("object store credentials: no access key is set, and the AWS SDK found none: %w", plain(err))
		return credentials.Value{}, c.err
	}
	return c.value, nil
}

// plain returns what may be logged of an SDK's error: of a service's answer the
// code, for its text may repeat what was sent.
func plain(err error) error {
	var operation interface {
		error
		Service() string
		Operation() string
	}
	var answer interface {
		error
		ErrorCode() string
	}
	if !errors.As(err, &answer) {
		return errors.New(public(err.Error(), ""))
	}
	if !errors.As(err, &operation) {
		return errors.New(answer.ErrorCode())
	}
	return fmt.Errorf("%s %s: %s", operation.Service(), operation.Operation(), answer.ErrorCode())
}
