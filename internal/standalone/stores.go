package standalone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"syscall"

	"tonearm/gateway"
	"tonearm/internal/account/sqlaccount"
	"tonearm/internal/blob"
	"tonearm/internal/blob/s3blob"
	"tonearm/internal/conversion/sqliteconversion"
	"tonearm/internal/embedded"
	"tonearm/internal/mail/filemail"
	"tonearm/internal/queue/redisqueue"
	"tonearm/internal/service"
)

// openRecords opens the database for conversions and users, each only if the
// options have no store for them.
func (r *instance) openRecords(context.Context) error {
	file := r.data.path("tonearm.db")
	if r.Records == nil {
		records, err := sqliteconversion.Open(file)
		if err != nil {
			return err
		}
		r.Records = records
		r.defers(func() { records.Close() })
	}
	if r.Users == nil {
		users, err := sqlaccount.OpenSQLite(file)
		if err != nil {
			return err
		}
		r.Users = users
		r.defers(func() { users.Close() })
	}
	return nil
}

func (r *instance) openQueue(ctx context.Context) error {
	if r.Queue != nil {
		return nil
	}
	redis, err := embedded.StartRedis(ctx)
	if err != nil {
		return err
	}
	r.defers(redis.Close)
	messages, err := redisqueue.Open(redis.URL(), redisqueue.DefaultPrefix)
	if err != nil {
		return err
	}
	r.Queue = messages
	r.defers(func() { messages.Close() })
	return nil
}

// openObjects opens the object store three times where it is the embedded one: with the
// root account, which only makes the bucket and its rules, and for each service with an
// account of its own.
func (r *instance) openObjects(ctx context.Context) (err error) {
	var gatewayKeys, dispatcherKeys embedded.Keys
	if r.S3.Endpoint == "" {
		store, err := embedded.StartS3(ctx, embedded.S3Options{
			Dir: r.data.path("s3"), Listen: r.S3Listen, WebhookURL: r.ownDispatcher() + "/events/s3", WebhookToken: r.EventToken, Connections: r.Limits.Connections, Log: r.Log,
			Destroyed: func(objects []embedded.StoredObject) { r.destroyed <- objects },
		})
		if errors.Is(err, syscall.EADDRINUSE) {
			return service.ListenError("s3-listen", r.S3Listen, err)
		}
		if err != nil {
			return err
		}
		r.defers(store.Close)
		r.S3.Endpoint, r.S3.AccessKey, r.S3.SecretKey = store.Endpoint(), store.AccessKey(), store.SecretKey()
		gatewayKeys, dispatcherKeys = store.GatewayKeys(), store.DispatcherKeys()
		if err := r.saveInboxKey(store.InboxKeys()); err != nil {
			return err
		}
	}
	if len(r.S3.CORSOrigins) == 0 {
		if r.S3.CORSOrigins, err = gateway.Origins(r.Gateway.PublicURL, r.Gateway.CORSOrigins); err != nil {
			return err
		}
	}
	r.S3.Log = r.Log
	if r.objects, err = s3blob.New(r.S3); err != nil {
		return err
	}
	if r.gatewayObjects, err = r.objectsOf(gatewayKeys); err != nil {
		return err
	}
	r.dispatcherObjects, err = r.objectsOf(dispatcherKeys)
	return err
}

// objectsOf opens the object store with other keys, if there are any. What has to be
// prepared is prepared with the first ones.
func (r *instance) objectsOf(k embedded.Keys) (blob.Store, error) {
	if k == (embedded.Keys{}) {
		return r.objects, nil
	}
	o := r.S3
	o.AccessKey, o.SecretKey = k.AccessKey, k.SecretKey
	s, err := s3blob.New(o)
	return limitedStore{s, r.objects}, err
}

// limitedStore is the object store with an account that may not change the bucket.
type limitedStore struct {
	*s3blob.Store
	root *s3blob.Store
}

func (s limitedStore) Prepare(ctx context.Context) error { return s.root.Prepare(ctx) }

// saveInboxKey writes the file for S3 clients that upload into the inbox.
func (r *instance) saveInboxKey(access, secret string) error {
	r.inboxKey = r.data.path("inbox.env")
	text := fmt.Sprintf("export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\nexport AWS_ENDPOINT_URL='%s'\nexport AWS_REGION='%s'\n",
		access, secret, cmp.Or(r.S3.PublicEndpoint, r.S3.Endpoint), cmp.Or(r.S3.Region, s3blob.DefaultRegion))
	if err := r.data.replace("inbox.env", text); err != nil {
		return fmt.Errorf("save the key of the inbox: %w", err)
	}
	return nil
}

func (r *instance) openSender(context.Context) (err error) {
	if r.Sender == nil {
		r.Sender, err = filemail.New(r.data.path("outbox"))
	}
	return err
}
