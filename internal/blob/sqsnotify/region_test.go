package sqsnotify

import "testing"

func TestRegionOf(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"sqs.eu-central-1.amazonaws.com":                       "eu-central-1",
		"sqs-fips.us-gov-west-1.amazonaws.com":                 "us-gov-west-1",
		"sqs.cn-north-1.amazonaws.com.cn":                      "cn-north-1",
		"sqs.us-east-2.api.aws":                                "us-east-2",
		"vpce-0a1b-2c3d.sqs.ap-southeast-2.vpce.amazonaws.com": "ap-southeast-2",
		"us-west-2.queue.amazonaws.com":                        "us-west-2",
		"queue.amazonaws.com":                                  "",
		"localhost:4566":                                       "",
		"sqs.example.org":                                      "",
	} {
		if got := regionOf(host); got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}
