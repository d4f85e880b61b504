package blob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"tonearm/internal/conversion"
	"tonearm/internal/strictjson"
)

// Event is one notification of a created object. It is a hint: it comes at
// least once, in any order, and is sometimes lost.
type Event struct {
	Name    string // such as ObjectCreated:Put, without "s3:"
	Bucket  string
	Key     string    // decoded
	ETag    string    // without quotes
	Version string    // '' where the bucket keeps none
	Size    int64     // bytes
	Time    time.Time // when the upload was finished; zero if the notification does not say
}

// EventSource is a queue for the notifications of a store that cannot call a
// webhook.
type EventSource interface {
	// Consume waits some seconds for notifications and calls handle with the
	// body of each, several at once. If handle returns nil, the notification is
	// removed; otherwise it comes again, later each time. The error is the
	// queue's, never handle's. Any number of processes may receive at once:
	// each notification goes to one of them.
	Consume(ctx context.Context, handle func(ctx context.Context, body []byte) error) error
}

// NotifyPrefixes are the prefixes of the keys for which the store sends
// notifications: they hold what people put into the bucket, never what Tonearm
// itself puts there.
func NotifyPrefixes() []string { return []string{conversion.UploadPrefix, conversion.InboxPrefix} }

const (
	created   = "ObjectCreated:"
	testEvent = "s3:TestEvent"
)

// The S3 event message structure, version 2.x
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html).
// MinIO adds EventName and Key outside the records.
type notification struct {
	Event   string               `json:"Event,omitempty"` // only in AWS's test message, which has no records
	Records []notificationRecord `json:"Records"`
	envelope
}

type notificationRecord struct {
	EventVersion string         `json:"eventVersion"`
	EventSource  string         `json:"eventSource"`
	EventName    string         `json:"eventName"`
	EventTime    string         `json:"eventTime,omitempty"` // RFC 3339
	S3           notificationS3 `json:"s3"`
}

type notificationS3 struct {
	SchemaVersion string `json:"s3SchemaVersion"`
	Bucket        struct {
		Name string `json:"name"`
	} `json:"bucket"`
	Object struct {
		Key       string `json:"key"` // as in a URL's query
		Size      int64  `json:"size"`
		ETag      string `json:"eTag"`
		VersionID string `json:"versionId,omitempty"`
	} `json:"object"`
}

// ParseNotification reads the S3 event notification that MinIO's webhook, AWS
// and the embedded store send. AWS's is the body of an SQS message, directly or
// inside an envelope of SNS or EventBridge. Records that are not about created
// objects are left out, and AWS's test message has none. An error says that the
// body is not a notification, or that one of its records cannot be read;
// sending it again would not help.
func ParseNotification(body []byte) ([]Event, error) {
	events, err := parse(body)
	if err != nil {
		return nil, fmt.Errorf("parse notification: %w", err)
	}
	return events, nil
}

func parse(body []byte) ([]Event, error) {
	var n notification
	if err := strictjson.Unmarshal(body, &n); err != nil {
		return nil, err
	}
	if n.fromSNS() {
		message := n.Message
		n = notification{}
		if err := strictjson.Unmarshal([]byte(message), &n); err != nil {
			return nil, fmt.Errorf("message of SNS: %w", err)
		}
	}
	if n.fromEventBridge() {
		return n.Detail.events(n.DetailType)
	}
	if n.Records == nil && n.Event != testEvent {
		return nil, errors.New("the notification has no records")
	}
	var events []Event
	for i, r := range n.Records {
		name := strings.TrimPrefix(r.EventName, "s3:")
		if !strings.HasPrefix(name, created) {
			continue
		}
		e, err := r.event(name)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", i, err)
		}
		events = append(events, e)
	}
	return events, nil
}

func (r notificationRecord) event(name string) (Event, error) {
	key, err := url.QueryUnescape(r.S3.Object.Key)
	if err != nil {
		return Event{}, fmt.Errorf("key: %w", err)
	}
	at, _ := time.Parse(time.RFC3339, r.EventTime) // only a metric depends on it
	return Event{
		Name:    name,
		Time:    at,
		Bucket:  r.S3.Bucket.Name,
		Key:     key,
		ETag:    TrimETag(r.S3.Object.ETag),
		Version: TrimVersion(r.S3.Object.VersionID),
		Size:    r.S3.Object.Size,
	}.checked()
}

// checked returns e, or an error if no object can have such an event.
func (e Event) checked() (Event, error) {
	switch {
	case e.Key == "" || !utf8.ValidString(e.Key):
		return Event{}, errors.New("key is empty or not UTF-8")
	case e.Bucket == "":
		return Event{}, errors.New("bucket is empty")
	case e.Size < 0:
		return Event{}, errors.New("size is negative")
	}
	return e, nil
}

// FormatNotification renders one event as ParseNotification reads it.
func FormatNotification(e Event) ([]byte, error) {
	r := notificationRecord{EventVersion: "2.1", EventSource: "aws:s3", EventName: e.Name}
	if !e.Time.IsZero() {
		r.EventTime = e.Time.UTC().Format(time.RFC3339Nano)
	}
	r.S3.SchemaVersion = "1.0"
	r.S3.Bucket.Name = e.Bucket
	r.S3.Object.Key = url.QueryEscape(e.Key)
	r.S3.Object.Size = e.Size
	r.S3.Object.ETag = e.ETag
	r.S3.Object.VersionID = e.Version
	return json.Marshal(notification{Records: []notificationRecord{r}})
}

// TrimETag returns an ETag header's value without its quotes.
func TrimETag(etag string) string { return strings.Trim(etag, `"`) }

// TrimVersion returns a version id, empty if the bucket keeps no versions: S3
// then sends none or "null".
func TrimVersion(id string) string {
	if id == "null" {
		return ""
	}
	return id
}
