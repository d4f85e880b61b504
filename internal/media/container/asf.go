package container

import (
	"encoding/binary"
	"io"
	"math"
)

// Objects of ASF, by their GUIDs (Advanced Systems Format specification, 10).
const (
	asfHeader     = "\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"
	asfProperties = "\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65"
	asfData       = "\x36\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"
)

// inspectASF says where the last packet of data ends, or where the file ends if
// the packets are not counted. A broadcast counts neither (3.2 and 5.1).
func inspectASF(r io.ReaderAt, size int64) Structure {
	p, ok := asfFile(r, size)
	if !ok || p.broadcast {
		return Structure{}
	}
	var h [50]byte
	var header [24]byte
	if readAt(r, header[:], 0, size) != nil {
		return Structure{Size: p.size}
	}
	at := binary.LittleEndian.Uint64(header[16:]) // where the Header Object ends
	if at > uint64(size) || readAt(r, h[:], int64(at), size) != nil || string(h[:16]) != asfData {
		return Structure{Size: p.size}
	}
	packets := binary.LittleEndian.Uint64(h[40:])
	if packets == 0 || p.packet == 0 || packets > math.MaxInt64/2/p.packet {
		return Structure{Size: p.size}
	}
	return Structure{Size: int64(at+packets*p.packet) + int64(len(h))}
}

// asfProps is what the File Properties Object says.
type asfProps struct {
	size      int64
	packet    uint64 // bytes of each packet of data; 0 where they differ
	broadcast bool
}

func asfFile(r io.ReaderAt, size int64) (asfProps, bool) {
	at := int64(30) // behind the Header Object's own fields
	for range 64 {
		var h [100]byte
		n := min(int64(len(h)), size-at)
		if n < 24 || readAt(r, h[:n], at, size) != nil {
			return asfProps{}, false
		}
		length := binary.LittleEndian.Uint64(h[16:])
		if string(h[:16]) == asfProperties && n == int64(len(h)) {
			p := asfProps{broadcast: h[88]&1 != 0}
			if v := binary.LittleEndian.Uint64(h[40:]); v <= math.MaxInt64 {
				p.size = int64(v)
			}
			if least, most := binary.LittleEndian.Uint32(h[92:]), binary.LittleEndian.Uint32(h[96:]); least == most {
				p.packet = uint64(least)
			}
			return p, true
		}
		if length < 24 || length > 1<<20 {
			return asfProps{}, false
		}
		at += int64(length)
	}
	return asfProps{}, false
}
