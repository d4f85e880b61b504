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
	// Credentials are renewed when less than this is left of their life, or
	// less than the longest life that a URL was asked to have: a URL dies with
	// the credentials that signed it.
	renewBefore = 15 * time.Minute
	// Credentials that are still valid are renewed at most this often: a
	// session may be shorter than the URLs that are asked for, and an
	// instance's role may return the same credentials again.
	renewPause = 5 * time.Minute
	// For this long a failure also answers other callers. Without it each would
	// wait for a time-out of its own, one after the other.
	failPause = 5 * time.Second
)

// chain gives the credentials that the AWS SDK finds. All its methods except
// ask are called under the lock of the one credentials.Credentials that it
// belongs to.
type chain struct {
	load func(context.Context) (aws.Credentials, error)
	log  *slog.Logger

	asked atomic.Int64 // longest life of a URL asked for, in nanoseconds
	value credentials.Value
	tried time.Time
	err   error // of the last try
}

var _ credentials.Provider = (*chain)(nil)

// defaultChain reads the SDK's settings at each renewal. That is so rare that
// nothing need be kept, and changes in files are seen.
func defaultChain(region string) func(context.Context) (aws.Credentials, error) {
	return func(ctx context.Context) (aws.Credentials, error) {
		c, err := config.LoadDefaultConfig(ctx, config.WithDefaultRegion(region),
			config.WithCredentialsCacheOptions(func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = 0 })) // their true end
		if err != nil {
			return aws.Credentials{}, err
		}
		return c.Credentials.Retrieve(ctx)
	}
}

// ask makes the credentials be renewed if less than life is left of them.
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

// Retrieve belongs to the interface; clients call RetrieveWithCredContext.
func (c *chain) Retrieve() (credentials.Value, error) {
	return c.RetrieveWithCredContext(&credentials.CredContext{Context: context.Background()})
}

// RetrieveWithCredContext loads credentials. If that fails, the previous ones
// are used for as long as they live.
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
	case cc.Context.Err() != nil: // a failure of this caller alone
		return credentials.Value{}, fmt.Errorf("object store credentials: %w", cc.Context.Err())
	default:
		c.tried, c.err = time.Now(), fmt.Errorf("object store credentials: no access key is set, and the AWS SDK found none: %w", plain(err))
		return credentials.Value{}, c.err
	}
	return c.value, nil
}

// plain returns an SDK's error without what must not be logged. Of an error
// from a service only the code is kept: its text may repeat what was sent.
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
