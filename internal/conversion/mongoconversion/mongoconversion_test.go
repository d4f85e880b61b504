package mongoconversion_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"tonearm/internal/conversion"
	"tonearm/internal/conversion/conversiontest"
	"tonearm/internal/conversion/mongoconversion"
)

// TestFerretDB runs the suite over the wire, with the driver's ordinary pool.
func TestFerretDB(t *testing.T) {
	uri := os.Getenv("TONEARM_TEST_FERRETDB")
	if uri == "" {
		if os.Getenv("TONEARM_TEST_REQUIRE") == "1" {
			t.Fatal("TONEARM_TEST_FERRETDB is not set")
		}
		t.Skip("TONEARM_TEST_FERRETDB is not set")
	}
	run(t, uri)
}

// TestMongoDB runs the suite on a real MongoDB where there is one.
func TestMongoDB(t *testing.T) {
	uri := os.Getenv("TONEARM_TEST_MONGO_URI")
	if uri == "" {
		t.Skip("TONEARM_TEST_MONGO_URI is not set")
	}
	run(t, uri)
}

func run(t *testing.T, uri string) {
	conversiontest.Run(t, func(t *testing.T) (conversion.Store, conversiontest.Raw) {
		database := emptyDatabase(t, uri)
		s := open(t, uri, database.Name())
		for range 2 { // the second time changes nothing
			if err := s.Prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return s, raw(database.Collection("conversions"))
	})
	t.Run("Upgrade", func(t *testing.T) { testUpgrade(t, uri) })
	t.Run("PrepareAtOnce", func(t *testing.T) { testPrepareAtOnce(t, uri) })
}

func open(t *testing.T, uri, database string) *mongoconversion.Store {
	t.Helper()
	s, err := mongoconversion.Open(uri, database, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// emptyDatabase returns an empty database for one test, without using the
// store.
func emptyDatabase(t *testing.T, uri string) *mongo.Database {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	database := client.Database("tonearm_test_" + strings.ReplaceAll(uuid.NewString(), "-", ""))
	t.Cleanup(func() { // the test's context is over by then
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
		defer cancel()
		if err := errors.Join(database.Drop(ctx), client.Disconnect(ctx)); err != nil {
			t.Error(err)
		}
	})
	return database
}

func raw(conversions *mongo.Collection) conversiontest.Raw {
	byID := func(id string) bson.D { return bson.D{{Key: "_id", Value: id}} }
	return conversiontest.Raw{
		Set: func(ctx context.Context, id, path string, value any) error {
			_, err := conversions.UpdateOne(ctx, byID(id), bson.D{{Key: "$set", Value: bson.D{{Key: path, Value: value}}}})
			return err
		},
		Text: func(ctx context.Context, id, path string) (string, error) {
			document, err := conversions.FindOne(ctx, byID(id)).Raw()
			text, _ := document.Lookup(strings.Split(path, ".")...).StringValueOK()
			return text, err
		},
	}
}

// before is the indexes that Prepare made in the version without a format
// number.
var before = []mongo.IndexModel{
	{Keys: bson.D{{Key: "owner_id", Value: 1}, {Key: "idempotency_key", Value: 1}}, Options: options.Index().SetName("idempotency_key").SetUnique(true)},
	{Keys: bson.D{{Key: "object.key", Value: 1}, {Key: "object.version", Value: 1}}, Options: options.Index().SetName("object").SetUnique(true)},
	{Keys: bson.D{{Key: "mp3.id", Value: 1}}, Options: options.Index().SetName("mp3_id").SetUnique(true)},
	{Keys: bson.D{{Key: "owner_id", Value: 1}, {Key: "_id", Value: -1}}, Options: options.Index().SetName("owner")},
	{Keys: bson.D{{Key: "wake_at", Value: 1}}, Options: options.Index().SetName("wake_at")},
	{Keys: bson.D{{Key: "state", Value: 1}, {Key: "_id", Value: 1}}, Options: options.Index().SetName("state")},
	{Keys: bson.D{{Key: "notice.state", Value: 1}, {Key: "_id", Value: 1}}, Options: options.Index().SetName("notice")},
}

// testUpgrade prepares a database of the previous version, starts that version
// once more, and prepares the database again.
func testUpgrade(t *testing.T, uri string) {
	database := emptyDatabase(t, uri)
	conversions := database.Collection("conversions")
	prepareBefore := func() {
		t.Helper()
		for _, model := range before {
			if _, err := conversions.Indexes().CreateOne(t.Context(), model); err != nil {
				t.Fatalf("the version before cannot start: %v", err)
			}
		}
	}
	prepareBefore()
	old, err := conversion.New(conversion.Params{OwnerID: "u1", OwnerEmail: "a@example.org", Filename: "f.mp4"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	old.Format = 0
	if _, err := conversions.InsertOne(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	s := open(t, uri, database.Name())
	for range 2 {
		if err := s.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := indexNames(t, conversions)
		want := []string{
			"_id_", "due", "idempotency_key", "lapsed", "mp3_owner", "object_owner", "owed_notice",
			"owner", "owner_mp3", "owner_object", "owner_state", "queued",
		}
		if !slices.Equal(got, want) {
			t.Errorf("indexes %q, want %q", got, want)
		}
		if got, err := s.ByID(t.Context(), old.ID); err != nil || !reflect.DeepEqual(got, old) {
			t.Errorf("an old record is %+v, %v; want %+v", got, err, old)
		}
		prepareBefore()
	}
}

func indexNames(t *testing.T, conversions *mongo.Collection) []string {
	t.Helper()
	list, err := conversions.Indexes().ListSpecifications(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range list {
		names = append(names, i.Name)
	}
	slices.Sort(names)
	return names
}

// testPrepareAtOnce starts ten replicas on a database of the previous version.
func testPrepareAtOnce(t *testing.T, uri string) {
	database := emptyDatabase(t, uri)
	conversions := database.Collection("conversions")
	for _, model := range before {
		if _, err := conversions.Indexes().CreateOne(t.Context(), model); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for range 10 {
		s := open(t, uri, database.Name())
		wg.Go(func() {
			if err := s.Prepare(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := indexNames(t, conversions); len(got) != 12 || slices.Contains(got, "mp3_id") {
		t.Errorf("indexes %q", got)
	}
}

func TestServerDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := mongoconversion.Open("mongodb://"+address+"/", "tonearm", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("open while the server is down: %v", err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := s.Ping(ctx); err == nil {
		t.Error("ping of a server that is down: no error")
	}
	if _, err := mongoconversion.Open("http://"+address, "tonearm", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("open of another scheme: no error")
	}
}
