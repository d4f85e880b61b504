package sqsnotify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"tonearm/internal/blob"
)

// Options of a queue.
type Options struct {
	QueueURL  string // as SQS shows it; requests go to its host, which may be a VPC endpoint
	Region    string // where neither the URL nor the AWS SDK's settings name one; default us-east-1
	AccessKey string // '' takes the credentials that the AWS SDK finds: environment, files, web identity (IRSA), container, instance
	SecretKey string
}

const defaultRegion = "us-east-1"

// Queue is one SQS queue. It is a blob.EventSource, safe for concurrent use.
type Queue struct {
	client *sqs.Client
	url    string
}

var _ blob.EventSource = (*Queue)(nil)

// New checks the options and reads the AWS SDK's settings. It does not contact
// the queue, which may be away.
func New(ctx context.Context, o Options) (*Queue, error) {
	u, err := url.Parse(o.QueueURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") == "" || u.RawQuery != "" || u.User != nil {
		return nil, errors.New("notification queue: the URL must look like https://sqs.REGION.amazonaws.com/ACCOUNT/NAME")
	}
	if (o.AccessKey == "") != (o.SecretKey == "") {
		return nil, errors.New("notification queue: access key and secret key must both be set, or neither")
	}
	settings := []func(*config.LoadOptions) error{
		config.WithRegion(regionOf(u.Host)), config.WithDefaultRegion(cmp.Or(o.Region, defaultRegion)),
	}
	if o.AccessKey != "" {
		settings = append(settings, config.WithCredentialsProvider(given(o.AccessKey, o.SecretKey)))
	}
	c, err := config.LoadDefaultConfig(ctx, settings...)
	if err != nil {
		return nil, fmt.Errorf("notification queue: settings of the AWS SDK: %w", err)
	}
	client := sqs.NewFromConfig(c, func(so *sqs.Options) {
		if so.BaseEndpoint == nil { // AWS_ENDPOINT_URL_SQS takes precedence
			so.BaseEndpoint = aws.String(u.Scheme + "://" + u.Host)
		}
	})
	return &Queue{client: client, url: o.QueueURL}, nil
}

func given(accessKey, secretKey string) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey, Source: "options"}, nil
	})
}

var region = regexp.MustCompile(`(?:^|\.)sqs(?:-fips)?\.([a-z]{2,}(?:-[a-z]+)+-\d+)\.|^([a-z]{2,}(?:-[a-z]+)+-\d+)\.queue\.`)

// regionOf returns the region in the host name of an SQS endpoint, empty if it
// has none.
func regionOf(host string) string {
	m := region.FindStringSubmatch(host)
	if m == nil {
		return ""
	}
	return m[1] + m[2]
}

// plain returns an SDK's error without what must not be logged. Of an error
// from a service only the code is kept, since its text may repeat what was
// sent, and the name of the service, since STS may answer here too.
func plain(err error) error {
	var answer smithy.APIError
	if !errors.As(err, &answer) {
		return err
	}
	var operation, inner *smithy.OperationError
	for errors.As(err, &inner) {
		operation, err = inner, inner.Err
	}
	if operation == nil {
		return errors.New(answer.ErrorCode())
	}
	return fmt.Errorf("%s %s: %s", operation.ServiceID, operation.OperationName, answer.ErrorCode())
}
