// Package s3blob is the object store over the S3 protocol: MinIO and its
// successors, the embedded gateway, AWS.
//
// With Options without keys the store uses the credentials that the AWS SDK
// finds. They are looked for at the first use and renewed before they end. A
// presigned URL ends with its credentials.
//
// On the bucket the credentials need s3:CreateBucket (only if the bucket does
// not exist), s3:ListBucket, s3:GetBucketCORS, s3:PutBucketCORS,
// s3:GetBucketNotification and s3:PutBucketNotification (the last two only with
// Options.NotifyARN). On its objects they need s3:GetObject, s3:PutObject,
// s3:DeleteObject, s3:AbortMultipartUpload and s3:ListMultipartUploadParts.
//
// While the store is down, calls fail after a few retries within the context's
// time. They may be repeated, because nothing is kept in memory.
package s3blob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/notification"

	"tonearm/internal/blob"
)

const (
	// minio-go retries ten times by default, for minutes if the store is down.
	// The callers of this package retry themselves.
	maxRetries = 3
	// Joining the parts of a large upload may copy all of it before the store
	// answers; minio-go's transport gives up after a minute.
	answerTimeout = 10 * time.Minute
)

// Options of a store. Zero values of the optional fields mean their defaults.
type Options struct {
	Endpoint       string // URL of the store as this process and the transcoders reach it, without a path
	PublicEndpoint string // URL as people reach it; default Endpoint
	Region         string // default DefaultRegion
	Bucket         string
	AccessKey      string // '' takes the credentials that the AWS SDK finds: environment, files, web identity (IRSA), container, instance
	SecretKey      string
	PathStyle      bool         // on AWS, the bucket in the path instead of the host name; on other stores it always is
	NotifyARN      string       // where the store sends notifications to; '' if somebody else configures that
	CORSOrigins    []string     // web pages of these origins may use presigned URLs; none if empty
	Log            *slog.Logger // default discards
}

// DefaultRegion is the default of Options.Region.
const DefaultRegion = "us-east-1"

func (o Options) withDefaults() Options {
	o.PublicEndpoint = cmp.Or(o.PublicEndpoint, o.Endpoint)
	o.Region = cmp.Or(o.Region, DefaultRegion)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o
}

func (o Options) validate() error {
	if o.Bucket == "" {
		return errors.New("a bucket is required")
	}
	if (o.AccessKey == "") != (o.SecretKey == "") {
		return errors.New("access key and secret key must both be set, or neither")
	}
	return nil
}

// LogValue leaves out the secret key.
func (o Options) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("endpoint", o.Endpoint),
		slog.String("public_endpoint", o.PublicEndpoint),
		slog.String("region", o.Region),
		slog.String("bucket", o.Bucket),
	)
}

// Store is one bucket of an S3 store. It is a blob.Store, safe for concurrent
// use.
type Store struct {
	bucket  string
	region  string
	origins []string
	arn     *notification.Arn // nil: this store does not configure notifications
	log     *slog.Logger
	creds   *credentials.Credentials
	chain   *chain        // source of creds; nil if Options has the keys
	core    *minio.Core   // sends requests to Endpoint, and signs for it
	public  *minio.Client // signs for PublicEndpoint, and never connects
}

var _ blob.Store = (*Store)(nil)

// New checks the options. It does not connect: the store may be down.
func New(o Options) (*Store, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	s := &Store{bucket: o.Bucket, region: o.Region, origins: o.CORSOrigins, log: o.Log}
	if o.AccessKey != "" {
		s.creds = credentials.NewStaticV4(o.AccessKey, o.SecretKey, "")
	} else {
		s.chain = &chain{load: defaultChain(o.Region), log: o.Log}
		s.creds = credentials.New(s.chain)
	}
	if o.NotifyARN != "" {
		arn, err := notification.NewArnFromString(o.NotifyARN)
		if err != nil {
			return nil, fmt.Errorf("object store: notification ARN %q: %w", o.NotifyARN, err)
		}
		s.arn = &arn
	}
	internal, err := s.client(o, o.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("object store: endpoint: %w", err)
	}
	s.core = &minio.Core{Client: internal}
	if s.public, err = s.client(o, o.PublicEndpoint); err != nil {
		return nil, fmt.Errorf("object store: public endpoint: %w", err)
	}
	return s, nil
}

func (s *Store) client(o Options, endpoint string) (*minio.Client, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, hide(err, "")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("%q must look like http://host:port or https://host", (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String())
	}
	transport, err := minio.DefaultTransport(u.Scheme == "https")
	if err != nil {
		return nil, err
	}
	transport.ResponseHeaderTimeout = answerTimeout
	lookup := minio.BucketLookupPath
	if strings.HasSuffix(u.Hostname(), ".amazonaws.com") && !o.PathStyle {
		lookup = minio.BucketLookupDNS
	}
	return minio.New(u.Host, &minio.Options{
		Creds:        s.creds,
		Secure:       u.Scheme == "https",
		Transport:    transport,
		Region:       o.Region, // otherwise the client asks the store for it, at an address that it may not reach
		BucketLookup: lookup,
		MaxRetries:   maxRetries,
	})
}

// Ping reports whether the store answers and takes the credentials; the bucket
// need not exist.
func (s *Store) Ping(ctx context.Context) error {
	if _, err := s.core.BucketExists(ctx, s.bucket); err != nil {
		return fmt.Errorf("reach object store: %w", translate(err, ""))
	}
	return nil
}
