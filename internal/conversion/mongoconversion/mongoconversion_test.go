package mongoconversion_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
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
	conversiontest.Run(t, func(t *testing.T) conversion.Store {
		database := "tonearm_test_" + strings.ReplaceAll(uuid.NewString(), "-", "")
		s, err := mongoconversion.Open(uri, database)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := errors.Join(drop(uri, database), s.Close()); err != nil {
				t.Error(err)
			}
		})
		for range 2 { // the second time changes nothing
			if err := s.Prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return s
	})
}

// drop removes a test's database; the test's context is over by then.
func drop(uri, database string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		return err
	}
	return errors.Join(client.Database(database).Drop(ctx), client.Disconnect(ctx))
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
	s, err := mongoconversion.Open("mongodb://"+address+"/", "tonearm")
	if err != nil {
		t.Fatalf("open while the server is down: %v", err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := s.Ping(ctx); err == nil {
		t.Error("ping of a server that is down: no error")
	}
	if _, err := mongoconversion.Open("http://"+address, "tonearm"); err == nil {
		t.Error("open of another scheme: no error")
	}
}
