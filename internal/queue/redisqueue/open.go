package redisqueue

import (
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Open returns the queue at a URL, with prefix before the names of its keys
// (DefaultPrefix if empty):
//
//	redis://user:password@host:6379/0                                      one server
//	redis+cluster://host:6379?addr=other:6379                              a cluster; addr names further nodes
//	redis+sentinel://host:26379/0?master_name=tonearm&addr=other:26379     the master that sentinels name
//
// User and password in the URL of sentinels are those of the sentinels; those of
// the master are &username= and &password=. With rediss in place of redis the connections use TLS. Open does not contact
// the servers; an error means that the URL is wrong. It turns off the log of
// the Redis client, which would only repeat the errors that the methods return,
// unstructured.
func Open(url, prefix string) (*Queue, error) {
	client, err := dial(url)
	if err != nil {
		return nil, fmt.Errorf("redis URL: %w", err)
	}
	logging.Disable()
	q := New(client, prefix)
	q.close = client.Close
	return q, nil
}

const (
	dialerRetries = 1               // the queue tries commands again itself
	dialTimeout   = 2 * time.Second // of one node among several: a dead machine does not answer
)

func dial(url string) (redis.UniversalClient, error) {
	scheme, rest, _ := strings.Cut(url, "://")
	tls, kind, _ := strings.Cut(scheme, "+")
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	switch kind {
	case "cluster":
		o, err := redis.ParseClusterURL(tls + "://" + rest)
		if err != nil {
			return nil, err
		}
		o.ContextTimeoutEnabled, o.DialerRetries, o.MaintNotificationsConfig = true, dialerRetries, quiet
		o.DialTimeout = dialTimeout
		return redis.NewClusterClient(o), nil
	case "sentinel":
		o, err := redis.ParseFailoverURL(tls + "://" + rest)
		if err != nil {
			return nil, err
		}
		if o.MasterName == "" {
			return nil, fmt.Errorf("%s:// needs ?master_name=, the name under which the sentinels know the master", scheme)
		}
		o.ContextTimeoutEnabled, o.DialerRetries, o.DialTimeout = true, dialerRetries, dialTimeout
		return redis.NewFailoverClient(o), nil
	case "":
		o, err := redis.ParseURL(url)
		if err != nil {
			return nil, err
		}
		o.ContextTimeoutEnabled, o.DialerRetries, o.MaintNotificationsConfig = true, dialerRetries, quiet
		return redis.NewClient(o), nil
	}
	return nil, fmt.Errorf("unknown scheme %s://; write redis://, redis+cluster:// or redis+sentinel://", scheme)
}
