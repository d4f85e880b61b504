package blob

// envelope is what AWS puts around a notification on its way to a queue.
type envelope struct {
	// Of SNS, without raw message delivery: the notification as text.
	Type    string `json:"Type,omitempty"`
	Message string `json:"Message,omitempty"`

	// From EventBridge.
	Source     string  `json:"source,omitempty"`
	DetailType string  `json:"detail-type,omitempty"`
	Detail     *detail `json:"detail,omitempty"`
}

// detail is one object in EventBridge's form
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html).
type detail struct {
	Bucket struct {
		Name string `json:"name"`
	} `json:"bucket"`
	Object struct {
		Key       string `json:"key"` // not URL-encoded
		Size      int64  `json:"size"`
		ETag      string `json:"etag"`
		VersionID string `json:"version-id"`
	} `json:"object"`
	Reason string `json:"reason"` // such as PutObject
}

func (e envelope) fromSNS() bool { return e.Type == "Notification" }

func (e envelope) fromEventBridge() bool { return e.Source == "aws.s3" && e.Detail != nil }

// events returns the one event, or none where nothing was created.
func (d *detail) events(detailType string) ([]Event, error) {
	if detailType != "Object Created" {
		return nil, nil
	}
	e, err := Event{
		Name:    created + d.Reason,
		Bucket:  d.Bucket.Name,
		Key:     d.Object.Key,
		ETag:    TrimETag(d.Object.ETag),
		Version: TrimVersion(d.Object.VersionID),
		Size:    d.Object.Size,
	}.checked()
	if err != nil {
		return nil, err
	}
	return []Event{e}, nil
}
