package blob_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"tonearm/internal/blob"
)

// As MinIO's webhook sent it.
const minioBody = `{"EventName":"s3:ObjectCreated:Put","Key":"b/inbox/a%2Bb%40example.org/x.mp4","Records":[
{"eventVersion":"2.0","eventSource":"minio:s3","awsRegion":"","eventTime":"2026-03-01T10:00:00.000Z","eventName":"s3:ObjectCreated:Put",
"userIdentity":{"principalId":"tonearm"},"requestParameters":{"principalId":"tonearm","region":"","sourceIPAddress":"127.0.0.1"},
"responseElements":{"x-amz-id-2":"dd","x-amz-request-id":"18"},
"s3":{"s3SchemaVersion":"1.0","configurationId":"Config","bucket":{"name":"b","ownerIdentity":{"principalId":"tonearm"},"arn":"arn:aws:s3:::b"},
"object":{"key":"inbox%2Fa%2Bb%40example.org%2Fx.mp4","size":1048576,"eTag":"d41d8cd98f00b204e9800998ecf8427e","contentType":"video/mp4","userMetadata":{"content-type":"video/mp4"},"sequencer":"18"}},
"source":{"host":"127.0.0.1","port":"","userAgent":"curl"}}]}`

// As AWS documents it; versioned bucket.
const awsBody = `{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"us-west-2","eventTime":"1970-01-01T00:00:00.000Z","eventName":"ObjectCreated:CompleteMultipartUpload",
"s3":{"s3SchemaVersion":"1.0","configurationId":"c","bucket":{"name":"b","ownerIdentity":{"principalId":"A3"},"arn":"arn:aws:s3:::b"},
"object":{"key":"uploads/u/c/source","size":1024,"eTag":"\"d41d-2\"","versionId":"096fKKXTRTtl3on89fVO.nfljtsv6qko","sequencer":"0055AED6DCD90281E5"}}},
{"eventName":"ObjectRemoved:Delete","s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}]}`

// As AWS documents them: by way of EventBridge, whose keys are not encoded, and
// by way of SNS.
const (
	bridgeBody = `{"version":"0","id":"17793124-05d4-b198-2fde-7ededc63b103","detail-type":"Object Created","source":"aws.s3","account":"111122223333",
"time":"2021-11-12T00:00:00Z","region":"ca-central-1","resources":["arn:aws:s3:::b"],"detail":{"version":"0","bucket":{"name":"b"},
"object":{"key":"inbox/a+b@example.org/100%25 x.mp4","size":5,"etag":"b1946","version-id":"IYV3p45BT0ac8hjHg1houSdS1a.Mro8e","sequencer":"00617F08299329D189"},
"request-id":"N4N7GDK58NMKJ12R","requester":"123456789012","source-ip-address":"1.2.3.4","reason":"PutObject"}}`
	snsHead = `{"Type":"Notification","MessageId":"22b80b92","TopicArn":"arn:aws:sns:us-west-2:123456789012:t","Subject":"Amazon S3 Notification","Timestamp":"2012-05-02T00:54:06.655Z","Message":`
)

func throughSNS(body string) string {
	message, _ := json.Marshal(body)
	return snsHead + string(message) + `}`
}

func record(name, key string) string {
	return `{"Records":[{"eventName":"` + name + `","s3":{"bucket":{"name":"b"},"object":{"key":"` + key + `","size":3,"eTag":"e","versionId":"null"}}}]}`
}

func TestParseNotification(t *testing.T) {
	put := func(key string) []blob.Event {
		return []blob.Event{{Name: "ObjectCreated:Put", Bucket: "b", Key: key, ETag: "e", Size: 3}}
	}
	tests := []struct {
		name, body string
		want       []blob.Event
	}{
		{"minio", minioBody, []blob.Event{{Name: "ObjectCreated:Put", Bucket: "b", Key: "inbox/a+b@example.org/x.mp4",
			ETag: "d41d8cd98f00b204e9800998ecf8427e", Size: 1048576,
			Time: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)}}},
		{"aws", awsBody, []blob.Event{{Name: "ObjectCreated:CompleteMultipartUpload", Bucket: "b", Key: "uploads/u/c/source",
			ETag: "d41d-2", Version: "096fKKXTRTtl3on89fVO.nfljtsv6qko", Size: 1024,
			Time: time.Unix(0, 0).UTC()}}},
		{"aws test", `{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2014-10-13T15:57:02.089Z","Bucket":"b","RequestId":"5","HostId":"8"}`, nil},
		{"EventBridge", bridgeBody, []blob.Event{{Name: "ObjectCreated:PutObject", Bucket: "b", Key: "inbox/a+b@example.org/100%25 x.mp4",
			ETag: "b1946", Version: "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e", Size: 5}}},
		{"EventBridge, deleted", strings.Replace(bridgeBody, "Object Created", "Object Deleted", 1), nil},
		{"SNS", throughSNS(record("ObjectCreated:Put", "my+video.mp4")), put("my video.mp4")},
		{"SNS after EventBridge", throughSNS(bridgeBody), []blob.Event{{Name: "ObjectCreated:PutObject", Bucket: "b", Key: "inbox/a+b@example.org/100%25 x.mp4",
			ETag: "b1946", Version: "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e", Size: 5}}},
		{"SNS test", throughSNS(`{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}`), nil},
		{"no records left", `{"Records":[]}`, nil},
		{"not created", record("s3:ObjectRemoved:Delete", "%zz"), nil},
		{"accessed", record("s3:ObjectAccessed:Get", "k"), nil},
		{"plus in an address", record("s3:ObjectCreated:Put", "inbox/a%2Bb@example.org/x"), put("inbox/a+b@example.org/x")},
		{"space as plus", record("ObjectCreated:Put", "inbox/my+video.mp4"), put("inbox/my video.mp4")},
		{"space as %20", record("ObjectCreated:Put", "inbox/my%20video.mp4"), put("inbox/my video.mp4")},
		{"hash", record("ObjectCreated:Put", "a%231.mp4"), put("a#1.mp4")},
		{"percent", record("ObjectCreated:Put", "100%25%2B.mp4"), put("100%+.mp4")},
		{"unicode", record("ObjectCreated:Put", "%E3%83%93%E3%83%87%E3%82%AA+%F0%9F%8E%AC.mp4"), put("ビデオ 🎬.mp4")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := blob.ParseNotification([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestParseNotificationRefuses(t *testing.T) {
	for _, body := range []string{
		``, `null`, `{}`, `[]`, `{"Event":"s3:Other"}`, `{"Records":[]} x`, `{"Records":{}}`,
		record("ObjectCreated:Put", ""),
		record("ObjectCreated:Put", "%zz"),
		record("ObjectCreated:Put", "%ff"),
		strings.Replace(record("ObjectCreated:Put", "k"), `"size":3`, `"size":3,"size":3`, 1),
		strings.Replace(record("ObjectCreated:Put", "k"), `"key":"k"`, `"key":"k","Key":"l"`, 1),
		throughSNS(strings.Replace(record("ObjectCreated:Put", "k"), `"size":3`, `"size":3,"size":4`, 1)),
		strings.Replace(throughSNS(awsBody), `"Type":`, `"type":"Other","Type":`, 1),
		strings.Replace(bridgeBody, `"size":5`, `"size":5,"size":6`, 1),
		snsHead + `"hello"}`, snsHead + `3}`, throughSNS(`{}`), throughSNS(throughSNS(record("ObjectCreated:Put", "k"))),
		throughSNS(record("ObjectCreated:Put", "%zz")),
		strings.Replace(bridgeBody, `"name":"b"`, `"name":""`, 1), strings.Replace(bridgeBody, "aws.s3", "aws.ec2", 1),
		strings.Replace(bridgeBody, `"size":5`, `"size":-5`, 1),
		strings.Replace(record("ObjectCreated:Put", "k"), `"size":3`, `"size":-1`, 1),
		strings.Replace(record("ObjectCreated:Put", "k"), `"size":3`, `"size":"3"`, 1),
		strings.Replace(record("ObjectCreated:Put", "k"), `"name":"b"`, `"name":""`, 1),
	} {
		if got, err := blob.ParseNotification([]byte(body)); err == nil {
			t.Errorf("%s: got %+v, want an error", body, got)
		}
	}
}

func FuzzParseNotification(f *testing.F) {
	f.Add([]byte(minioBody))
	f.Add([]byte(awsBody))
	f.Add([]byte(bridgeBody))
	f.Add([]byte(throughSNS(awsBody)))
	f.Add([]byte(record("ObjectCreated:Post", "a%2Bb+c%23%25")))
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := blob.ParseNotification(body)
		if err != nil && events != nil {
			t.Fatal("both events and an error")
		}
		for _, want := range events {
			rendered, err := blob.FormatNotification(want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := blob.ParseNotification(rendered)
			if err != nil || len(got) != 1 || got[0] != want {
				t.Fatalf("got %+v, %v; want %+v", got, err, want)
			}
		}
	})
}
