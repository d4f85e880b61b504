// Command page does what a web page does with package remux: it plans what to send of
// the file that it gets as an argument, and reads it.
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"tonearm/internal/media/remux"
)

func main() {
	f, err := os.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	stat, err := f.Stat()
	if err != nil {
		panic(err)
	}
	p, err := remux.New(context.Background(), f, stat.Size(), remux.Options{Small: true})
	if err != nil {
		panic(err)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, p.NewReader()); err != nil {
		panic(err)
	}
	fmt.Printf("%s %d %v %s %x\n", p.Container, p.Size, p.Whole, p.Fingerprint, sum.Sum(nil))
}
