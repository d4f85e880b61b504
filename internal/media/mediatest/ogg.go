package mediatest

import (
	"encoding/binary"
	"testing"
)

// oggPages splits an Ogg file into its pages (RFC 3533, section 6).
func oggPages(t testing.TB, b []byte) (pages [][]byte) {
	t.Helper()
	for len(b) > 0 {
		if len(b) < 27 || string(b[:4]) != "OggS" {
			t.Fatal("not a page of Ogg")
		}
		size := 27 + int(b[26])
		for _, n := range b[27:size] {
			size += int(n)
		}
		pages = append(pages, b[:size:size])
		b = b[size:]
	}
	return pages
}

// granule is a page's position.
func granule(page []byte) int64 { return int64(binary.LittleEndian.Uint64(page[6:])) }

func setGranule(page []byte, v int64) { binary.LittleEndian.PutUint64(page[6:], uint64(v)) }

// seal computes a page's checksum anew.
func seal(page []byte) {
	binary.LittleEndian.PutUint32(page[22:], 0)
	var crc uint32
	for _, c := range page {
		crc ^= uint32(c) << 24
		for range 8 {
			if crc&0x80000000 != 0 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
	}
	binary.LittleEndian.PutUint32(page[22:], crc)
}
