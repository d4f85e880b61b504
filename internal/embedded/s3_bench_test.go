package embedded_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"tonearm/internal/embedded"
)

// BenchmarkPut stores objects of 1 MB, one after the other, and reports the
// median: what it costs to have each on the disk before the answer.
//
//	go test ./internal/embedded -run NONE -bench Put -benchtime 200x
func BenchmarkPut(b *testing.B) {
	const size = 1 << 20
	content := make([]byte, size)
	_, _ = rand.Read(content) // never fails
	server, _ := start(b, embedded.S3Options{Dir: b.TempDir()})
	open(b, server)
	c := client(b, server)
	var took []time.Duration
	for i := range b.N {
		began := time.Now()
		_, err := c.PutObject(b.Context(), "test", fmt.Sprintf("uploads/owner/%d/source", i), bytes.NewReader(content), size, minio.PutObjectOptions{})
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
}
