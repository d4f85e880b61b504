package s3blob

import (
	"context"
	"crypto/md5" //nolint:gosec // Content-MD5 is made of it
	"encoding/base64"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"tonearm/internal/blob"
)

// A Put holds one part in memory at a time, in blocks that it takes as the bytes
// come: a slow sender holds little more than what it sent. Parts are small at first,
// and larger for long videos, because a store takes 10,000 of them: 166 GiB in all.
const (
	blockSize  = 256 << 10
	smallPart  = 5 << 20 // bytes: the smallest that stores take
	largePart  = 20 << 20
	smallParts = 2000 // parts of the small size, 9.8 GiB, before the large ones
	mostParts  = 10_000
	abortLimit = 10 * time.Second
)

// partOf is the size of a part by its number, from 1.
func partOf(number int) int64 {
	if number > smallParts {
		return largePart
	}
	return smallPart
}

// blocks are used again by other Puts.
var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

// part is a piece of a video in memory.
type part struct {
	blocks []*[blockSize]byte
	size   int64
}

// fill reads up to limit bytes, and reports whether r ended with them. Only a bare
// io.EOF is the regular end: the body of a broken-off request ends with another.
func (p *part) fill(r io.Reader, limit int64) (end bool, err error) {
	for p.size < limit {
		if p.size == int64(len(p.blocks))*blockSize {
			p.blocks = append(p.blocks, blocks.Get().(*[blockSize]byte))
		}
		at := p.size % blockSize
		n, err := r.Read(p.blocks[len(p.blocks)-1][at:min(blockSize, at+limit-p.size)])
		p.size += int64(n)
		if err == io.EOF { //nolint:errorlint // a wrapped one is a failure
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("read source: %w", err)
		}
	}
	return false, nil
}

// ReadAt implements io.ReaderAt.
func (p *part) ReadAt(b []byte, at int64) (n int, err error) {
	for n < len(b) && at < p.size {
		block := p.blocks[at/blockSize][at%blockSize : min(blockSize, p.size-at/blockSize*blockSize)]
		c := copy(b[n:], block)
		n, at = n+c, at+int64(c)
	}
	if n < len(b) {
		err = io.EOF
	}
	return n, err
}

// body reads the part from its beginning, again where a request is repeated.
func (p *part) body() *io.SectionReader { return io.NewSectionReader(p, 0, p.size) }

// md5 is the part's Content-MD5.
func (p *part) md5() string {
	h := md5.New() //nolint:gosec // see above
	_, _ = io.Copy(h, p.body())
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// release gives the memory back.
func (p *part) release() {
	for _, b := range p.blocks {
		blocks.Put(b)
	}
	p.blocks, p.size = nil, 0
}

// Put stores r: in one request if it is short, else in parts, one at a time. Where r
// fails, nothing is stored.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) (blob.Object, error) {
	var p part
	defer p.release()
	whole, err := p.fill(r, partOf(1))
	if err != nil {
		return blob.Object{}, fail("put", key, err)
	}
	if whole {
		_, err := s.core.Client.PutObject(ctx, s.bucket, key, p.body(), p.size, minio.PutObjectOptions{SendContentMd5: true, DisableMultipart: true})
		if err != nil {
			return blob.Object{}, fail("put", key, err)
		}
		return s.Head(ctx, key)
	}
	id, err := s.core.NewMultipartUpload(ctx, s.bucket, key, minio.PutObjectOptions{})
	if err != nil {
		return blob.Object{}, fail("put", key, err)
	}
	parts, err := s.putParts(ctx, key, id, &p, r)
	if err == nil {
		_, err = s.core.CompleteMultipartUpload(ctx, s.bucket, key, id, parts, minio.PutObjectOptions{})
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortLimit)
		defer cancel()
		_ = s.core.AbortMultipartUpload(ctx, s.bucket, key, id) // if that fails, the store cleans up
		return blob.Object{}, fail("put", key, err)
	}
	return s.Head(ctx, key)
}

// putParts stores the parts, of which p is the first.
func (s *Store) putParts(ctx context.Context, key, id string, p *part, r io.Reader) (parts []minio.CompletePart, err error) {
	for number, last := 1, false; ; number++ {
		if number > mostParts {
			return nil, fmt.Errorf("%w: it has more than %d parts", blob.ErrInvalid, mostParts)
		}
		done, err := s.core.PutObjectPart(ctx, s.bucket, key, id, number, p.body(), p.size, minio.PutObjectPartOptions{Md5Base64: p.md5()})
		if err != nil {
			return nil, err
		}
		parts = append(parts, minio.CompletePart{PartNumber: number, ETag: done.ETag})
		if last {
			return parts, nil
		}
		p.release()
		if last, err = p.fill(r, partOf(number+1)); err != nil {
			return nil, err
		}
		if p.size == 0 {
			return parts, nil
		}
	}
}
