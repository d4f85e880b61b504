package main

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestScripts: the scripts of this version are recognized, by their text and by
// their hash.
func TestScripts(t *testing.T) {
	const dir = "../../internal/queue/redisqueue"
	for name, file := range map[string]string{"publish": "publish.lua", "take": "take.lua", "ack": "ack.lua", "extend": "extend.lua"} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha1.Sum(b)
		evalsha := fmt.Appendf(nil, "*3\r\n$7\r\nevalsha\r\n$40\r\n%s\r\n$20\r\ntonearm:{cpu}:messages\r\n", hex.EncodeToString(sum[:]))
		eval := fmt.Appendf(nil, "*3\r\n$4\r\neval\r\n$%d\r\n%s\r\n$20\r\ntonearm:{cpu}:messages\r\n", len(b), b)
		s := newScripts()
		match := s.runs(name, "cpu")
		if match(evalsha) {
			t.Errorf("%s: known before it was sent", name)
		}
		if !isEval(eval) || !match(eval) {
			t.Errorf("%s: not recognized by its text", name)
		}
		s.learn(eval)
		if !match(evalsha) {
			t.Errorf("%s: not recognized by its hash", name)
		}
		if s.runs(name, "notice")(evalsha) {
			t.Errorf("%s: taken for one of another class", name)
		}
		for other := range headings {
			if other != name && s.runs(other, "cpu")(evalsha) {
				t.Errorf("%s: taken for %s", name, other)
			}
		}
	}
}
