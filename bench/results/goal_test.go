package results

import "testing"

func TestGoal(t *testing.T) {
	more := func(f Figure, floor, stock float64) Figure {
		f.Floor, f.More = floor, map[string]float64{Stock: stock}
		return f
	}
	for _, tt := range []struct {
		name     string
		f        Figure
		met, set bool
	}{
		{"source.1g_20m_cam", Against(2, 2.1, "s"), true, true},
		{"source.1g_20m_cam", Against(2, 2.09, "s"), false, true},
		{"source.1g_20m_ts", more(Against(2, 1.9, "s"), 1.95, 0), true, true}, // nobody can be much faster
		{"source.1g_20m_ts", more(Against(2, 1.9, "s"), 1.9, 0), false, true},
		{"source.bytes_over_audio", Plain(1.04, ""), false, false},
		{"encode.one_hour_2_workers", more(Against(20, 30, "s"), 0, 36), true, true},
		{"encode.one_hour_2_workers", more(Against(20, 30, "s"), 0, 35), false, true},
		{"encode.one_hour_2_workers", more(Against(20, 29, "s"), 0, 36), false, true},
		{"encode.one_hour_2_workers", Against(20, 30, "s"), false, true}, // not compared with both
		{"short.100_clips", Against(4.5, 4.5, "s"), true, true},
		{"short.100_clips", Against(4.6, 4.5, "s"), false, true},
		{"send.20m_uplink_20m_video", Against(8, 320, "s"), true, true},
		{"send.20m_uplink_20m_video", Against(8, 319, "s"), false, true},
		{"send.100m_uplink_20m_video", Against(8, 80, "s"), true, true},
		{"send.100m_uplink_20m_video", Against(8, 79, "s"), false, true},
		{"image.transcoder_mb", Plain(39.9, "MB"), true, true},
		{"image.transcoder_mb", Plain(40, "MB"), false, true},
		{"image.first_pod_s", Plain(3, "s"), false, false},
	} {
		if met, set := tt.f.Goal(tt.name); met != tt.met || set != tt.set {
			t.Errorf("%s %v: met %v, set %v", tt.name, tt.f, met, set)
		}
	}
	if f := more(Against(2, 3, "s"), 1.6, 3); f.OverFloor() != 1.25 || f.Over(Stock) != 1.5 {
		t.Errorf("%v times its floor, %v times %s", f.OverFloor(), f.Over(Stock), Stock)
	}
	if f := Plain(2, "s"); f.OverFloor() != 0 {
		t.Errorf("%v times no floor", f.OverFloor())
	}
}
