package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sampleFigures = `{
  "bench.machine": {"ours": 2, "unit": "cores", "note": "Some Processor"},
  "bench.link_1g": {"ours": 935.4, "unit": "Mbit/s"},
  "source.1g_20m_cam": {"ours": 2, "peer": 5.04, "ratio": 2.52, "unit": "s", "floor": 1.6, "spread": {"ours": [1.9, 2.2]}, "more": {"ffmpeg_url": 5.04, "curl_then_ffmpeg": 6.5}},
  "source.1g_2m_cam": {"ours": 2, "peer": 1.9, "ratio": 0.95, "unit": "s"},
  "source.1g_20m_ts": {"ours": 2.7, "peer": 2.72, "ratio": 1.007, "unit": "s", "floor": 2.65},
  "source.loopback_20m_default": {"ours": 1, "peer": 1.2, "ratio": 1.2, "unit": "s"},
  "source.bytes_over_audio": {"ours": 1.043, "unit": "", "note": "of 6 MP4s, all"},
  "latency.overhead_p50_ms": {"ours": 131.4, "unit": "ms", "spread": {"ours": [101, 190]}, "more": {"ffmpeg": 412}},
  "gateway.creates_per_s": {"ours": 1578, "unit": "1/s", "more": {"p50_ms": 9.5, "p99_ms": 31, "disk_flush_ms": 0.2, "at_1": 700, "at_4": 900, "at_16": 1578, "at_64": 1500, "at_256": 1400, "ferretdb": 512, "ferretdb_p50_ms": 7, "ferretdb_p99_ms": 21}, "note": "16 at once, cores busy: tonearm 0.90"},
  "dispatch.event_to_pod_p50_ms": {"ours": 12.2, "peer": 628, "ratio": 51, "unit": "ms", "more": {"p99": 38, "keda_p99": 908}},
  "dispatch.keda_p50_ms": {"ours": 628, "unit": "ms", "more": {"default_p50": 16675}},
  "encode.one_hour_2_workers": {"ours": 20, "peer": 31, "ratio": 1.55, "unit": "s", "floor": 18, "more": {"stock_ffmpeg": 35, "computing": 42, "kernel": 6.5}},
  "send.20m_uplink_20m_video": {"ours": 7.5, "peer": 310, "ratio": 41.33, "unit": "s", "spread": {"ours": [7.4, 7.9], "ffmpeg_local": [3, 4]}, "more": {"ffmpeg_local": 3.5, "sent_mb": 5.1, "whole_mb": 755}},
  "send.100m_uplink_20m_video": {"ours": 7, "peer": 64, "ratio": 9.14, "unit": "s", "spread": {"ours": [6.9, 7.1], "ffmpeg_local": [3, 4]}, "more": {"ffmpeg_local": 3.5, "sent_mb": 5.1, "whole_mb": 755}},
  "short.100_clips": {"ours": 4, "peer": 4.4, "ratio": 1.1, "unit": "s", "more": {"xargs_own_ffmpeg": 1.35}, "note": "100 clips of 5 s"},
  "ffmpeg.start_ms": {"ours": 0.88, "peer": 52.7, "ratio": 59.9, "unit": "ms", "more": {"cpu": 0.71, "peer_cpu": 52.2}},
  "image.first_pod_s": {"ours": 2.5, "unit": "s", "spread": {"ours": [2.4, 2.9]}, "more": {"next_pod": 1.1}, "note": "median of 5"},
  "image.transcoder_mb": {"ours": 41.2, "unit": "MB"},
  "short.files_per_minute": {"ours": 120, "peer": 40, "ratio": 3, "unit": "files/min", "more": {"jobs": 9}, "note": "300 clips"},
  "scale.rss_mb": {"ours": 41, "unit": "MB", "nodes": ["of another program"]}
}`

func write(t *testing.T, figures string) (page, picture string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "results.json")
	if err := os.WriteFile(path, []byte(figures), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, dir); err != nil {
		t.Fatal(err)
	}
	p, err := os.ReadFile(filepath.Join(dir, "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(filepath.Join(dir, "performance.svg"))
	if err != nil {
		t.Fatal(err)
	}
	return string(p), string(svg)
}

func TestPage(t *testing.T) {
	page, _ := write(t, sampleFigures)
	for _, want := range []string{
		"2 cores (Some Processor)",
		"| 20 Mbit/s, 20 ms | 7.50 s (7.40 to 7.90) | 310 s | 41.3 | 40, met | 5.10 of 755 MB | 3.50 s (3.00 to 4.00) |",
		"| 10, **missed** | 5.10 of 755 MB |",
		"| 1 Gbit/s, 1 ms | MP4, 20 Mbit/s, camera | 2.00 s (1.90 to 2.20) | 5.04 s | 6.50 s | 2.52 | 1.60 s | 1.25 | met |",
		"| 1 Gbit/s, 1 ms | MP4, 2 Mbit/s, camera | 2.00 s | – | – | 0.950 | – | – | **missed** |",
		"| 1 Gbit/s, 1 ms | MPEG-TS, 20 Mbit/s | 2.70 s | – | – | 1.01 | 2.65 s | 1.02 | met |",
		"| 1 Gbit/s, 1 ms | MPEG-TS, 20 Mbit/s | 0.99 to 1.00 | 1.01 |",
		"takes 20.0 s, on one 31.0 s: 1.55 times faster (goal: 1.5). The distribution's ffmpeg takes 35.0 s for the same file: 1.75 times faster (goal: 1.8). The encoder alone, on two cores without any loss, would take 18.0 s. The goal is **missed**.",
		"compute 42.0 s on two workers, and the kernel another 6.50 s for them. Of that, the encoder alone is 36.0 s.",
		"with 100 clips of 5 s, against",
		"1.10 times faster (goal: 1; met). With our ffmpeg in place of that, `xargs` takes 1.35 s.\n\nOn Kubernetes",
		"| `ffmpeg.start_ms` | 0.880 ms | start of our ffmpeg, of which 0.710 ms of computing; of the distribution's 52.7 ms, 52.2 ms of computing |",
		"| `image.first_pod_s` | 2.50 s (2.40 to 2.90) | import of the transcoder's image on a node that does not have it, and a pod of it; the next pod 1.10 s (median of 5) |",
		"| `image.transcoder_mb` | 41.2 MB | the transcoder's image; goal: below 40 MB, **missed** |",
		"carried 935 Mbit/s",
		"**Videos of a low bit rate, or with their sound in many small pieces.**",
		"- 1 Gbit/s, 1 ms, MP4, 2 Mbit/s, camera: 2.00 s against 1.90 s, 0.950 times",
		"| `source.bytes_over_audio` | 1.04 |",
		"131 ms (101 to 190)",
		"took on 1578 a second at best, half of them within 9.50 ms and 99 of 100 within 31.0 ms",
		"took on 512 a second",
		"16 at once, cores busy: tonearm 0.90.",
		"is there 12.2 ms after the end of its upload (median; p99 38.0 ms)",
		"each second, its fastest, and 16675 ms with its default",
		"\n\n## Short files\n\n`tonearm convert`",
		"120 files a minute in 9 Jobs, against 40.0 with",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, other := range []string{"no value", "The store on the same machine.", "Nothing explains", "Containers without", "records in MongoDB", "memory.", "scale.", "scaling.", "For a burst", "%!"} {
		if strings.Contains(page, other) {
			t.Errorf("the page has %q", other)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}

func TestPicture(t *testing.T) {
	_, picture := write(t, sampleFigures)
	bars := map[string]int{}
	for d := xml.NewDecoder(bytes.NewReader([]byte(picture))); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not XML: %v\n%s", err, picture)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			for _, a := range e.Attr {
				if a.Name.Local == "fill" {
					bars[a.Value]++
				}
			}
		}
	}
	if bars[faster] != 3 || bars[slower] != 1 {
		t.Errorf("bars: %v", bars)
	}
}

func TestNothingMeasured(t *testing.T) {
	page, picture := write(t, "{}")
	if strings.Count(page, "Not measured yet.") != 2 || !strings.Contains(picture, "</svg>") {
		t.Errorf("%s\n%s", page, picture)
	}
	if err := Write(filepath.Join(t.TempDir(), "none"), "/nowhere"); err == nil {
		t.Error("written to nowhere")
	}
}

func TestNumber(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 0.01234: "0.0123", 0.985: "0.985", 12.34: "12.3", 1234.5: "1234", -98.5: "-98.5"} {
		if got := number(x); got != want {
			t.Errorf("%v: %s, want %s", x, got, want)
		}
	}
}
