package s3blob

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// A part holds what came, however it came, and can be read again.
func TestPart(t *testing.T) {
	want := make([]byte, 3*blockSize+17)
	for i := range want {
		want[i] = byte(rand.Uint32())
	}
	for name, r := range map[string]io.Reader{
		"at once": bytes.NewReader(want), "halves": iotest.HalfReader(bytes.NewReader(want)), "the end with the last bytes": iotest.DataErrReader(bytes.NewReader(want)),
		"with empty reads": io.MultiReader(&nothing{10}, bytes.NewReader(want[:blockSize]), &nothing{10}, bytes.NewReader(want[blockSize:])),
	} {
		var p part
		var got []byte
		for end := false; !end; {
			var err error
			if end, err = p.fill(r, blockSize+1); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := iotest.TestReader(p.body(), append([]byte{}, want[len(got):len(got)+int(p.size)]...)); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			if most := (p.size + blockSize - 1) / blockSize; int64(len(p.blocks)) > most+1 {
				t.Errorf("%s: %d blocks for %d bytes", name, len(p.blocks), p.size)
			}
			got = append(got, want[len(got):len(got)+int(p.size)]...)
			p.release()
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d bytes, want %d", name, len(got), len(want))
		}
	}
	for _, failure := range []error{io.ErrUnexpectedEOF, errors.New("gone"), errors.Join(io.EOF)} {
		var p part
		if end, err := p.fill(io.MultiReader(bytes.NewReader(want[:9]), iotest.ErrReader(failure)), blockSize); end || !errors.Is(err, failure) {
			t.Errorf("%v: end %t, %v", failure, end, err)
		}
	}
}

// nothing reads nothing for a while.
type nothing struct{ times int }

func (n *nothing) Read([]byte) (int, error) {
	if n.times--; n.times < 0 {
		return 0, io.EOF
	}
	return 0, nil
}

// A sender holds what it sent, and not a whole part.
func TestSlowSender(t *testing.T) {
	r, w := io.Pipe()
	var p part
	done := make(chan bool)
	go func() {
		end, err := p.fill(r, smallPart)
		done <- end && err == nil
	}()
	if _, err := w.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 1000)); err != nil { // taken: so the first one is in
		t.Fatal(err)
	}
	w.Close()
	if !<-done || len(p.blocks) != 1 || p.size != 2000 {
		t.Errorf("%d blocks for %d bytes", len(p.blocks), p.size)
	}
}

// Parts are as large as stores want them, and enough for as much as before.
func TestPartSizes(t *testing.T) {
	sum := int64(0)
	for number := 1; number <= mostParts; number++ {
		size := partOf(number)
		if size < 5<<20 || size > largePart {
			t.Fatalf("part %d has %d bytes", number, size)
		}
		sum += size
	}
	if sum < 156<<30 {
		t.Errorf("%d bytes at the most", sum)
	}
}
