package upgrade

import (
	"context"
	"database/sql"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	_ "modernc.org/sqlite"

	"tonearm/test/world"
)

// sqliteRecords are the documents of `tonearm up`.
type sqliteRecords struct {
	t  *testing.T
	db *sql.DB
}

func openSQLite(t *testing.T, data string) sqliteRecords {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(data, "tonearm.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return sqliteRecords{t, db}
}

func (r sqliteRecords) one(into any, query string, args ...any) {
	r.t.Helper()
	if err := r.db.QueryRowContext(r.t.Context(), query, args...).Scan(into); err != nil {
		r.t.Fatalf("%s: %v", query, err)
	}
}

func (r sqliteRecords) count() (n int) {
	r.t.Helper()
	r.one(&n, `SELECT count(*) FROM conversion`)
	return n
}

func (r sqliteRecords) document(id string) (document string) {
	r.t.Helper()
	r.one(&document, `SELECT document FROM conversion WHERE id = ?`, id)
	return document
}

func (r sqliteRecords) value(id, path string) any {
	r.t.Helper()
	return valueIn(r.t, []byte(r.document(id)), path)
}

// valueIn returns the value at a path in a document; nil if there is none.
func valueIn(t *testing.T, document []byte, path string) any {
	t.Helper()
	var found any
	if err := json.Unmarshal(document, &found); err != nil {
		t.Fatal(err)
	}
	for field := range strings.SplitSeq(path, ".") {
		object, _ := found.(map[string]any)
		found = object[field]
	}
	return found
}

func (r sqliteRecords) set(id, path string, value any) {
	r.t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.db.ExecContext(r.t.Context(), `UPDATE conversion SET document = json_set(document, ?, json(?)) WHERE id = ?`,
		"$."+path, string(encoded), id); err != nil {
		r.t.Fatal(err)
	}
}

// mongoRecords are the documents of the services.
type mongoRecords struct {
	t           *testing.T
	conversions *mongo.Collection
}

func openMongo(t *testing.T, s *world.Servers) mongoRecords {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(s.Mongo))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Disconnect(context.WithoutCancel(t.Context())) })
	return mongoRecords{t, client.Database(s.Name).Collection("conversions")}
}

func (r mongoRecords) count() int {
	r.t.Helper()
	n, err := r.conversions.CountDocuments(r.t.Context(), bson.M{})
	if err != nil {
		r.t.Fatal(err)
	}
	return int(n)
}

func (r mongoRecords) raw(id string) bson.Raw {
	r.t.Helper()
	raw, err := r.conversions.FindOne(r.t.Context(), bson.M{"_id": id}).Raw()
	if err != nil {
		r.t.Fatal(err)
	}
	return raw
}

func (r mongoRecords) document(id string) string {
	r.t.Helper()
	return string(r.raw(id))
}

func (r mongoRecords) value(id, path string) any {
	r.t.Helper()
	encoded, err := bson.MarshalExtJSON(r.raw(id), false, false)
	if err != nil {
		r.t.Fatal(err)
	}
	return valueIn(r.t, encoded, path)
}

func (r mongoRecords) set(id, path string, value any) {
	r.t.Helper()
	if _, err := r.conversions.UpdateOne(r.t.Context(), bson.M{"_id": id}, bson.M{"$set": bson.M{path: value}}); err != nil {
		r.t.Fatal(err)
	}
}
