package upgrade

import (
	"reflect"
	"strings"
	"testing"

	"tonearm/internal/api"
	"tonearm/internal/waittest"
	"tonearm/test/world"
)

// later are fields that a program of a later version may write.
var later = []string{"later", "options.later", "object.later", "mp3.later", "notice.later"}

// value returns the value of such a field.
func value(path string) any {
	return map[string]any{"of": path, "list": []any{"a", true}, "number": 1.5}
}

// sites are the kinds of sites, with a way to start programs there.
var sites = map[string]func(*testing.T) (*site, func(commands) running){
	"one machine": func(t *testing.T) (*site, func(commands) running) {
		m := newMachine(t)
		return m.site, func(bin commands) running { return m.start(bin, m.smtp...) }
	},
	"services": func(t *testing.T) (*site, func(commands) running) {
		c := newCluster(t)
		return c.site, func(bin commands) running {
			r := c.start(bin)
			c.route(r)
			return r.running
		}
	},
}

// TestUnknownFields writes fields that no program knows into records in every
// unfinished state. Once the programs have brought these to their ends, the
// fields must still be there.
func TestUnknownFields(t *testing.T) {
	bin := versions(t).after
	t.Parallel()
	for name, open := range sites {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, start := open(t)
			r := start(bin)
			s.join(bin)
			left := s.leave(bin, r.gate, world.Refuse, s.places)
			r.end((*world.Program).Kill)

			marked := s.files
			for _, f := range marked {
				for _, path := range later {
					s.records.set(f.conv.ID, path, value(path))
				}
			}
			start(bin)
			s.finish(bin, left)
			for _, f := range marked {
				for _, path := range later {
					if got := s.records.value(f.conv.ID, path); !reflect.DeepEqual(got, value(path)) {
						t.Errorf("%s: field %s is %v, want %v", f.what, path, got, value(path))
					}
				}
			}
			s.report()
		})
	}
}

// TestFormat writes the number of a later format into records in every
// unfinished state. Once other records have been brought to their ends, these
// must be untouched.
func TestFormat(t *testing.T) {
	bin := versions(t).after
	t.Parallel()
	for name, open := range sites {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, start := open(t)
			r := start(bin)
			s.join(bin)
			s.sink.Become(world.Refuse)
			owed := s.upload("mail owed", "talk.mp4", api.NewConversion{})
			s.refused(owed)
			left := s.leave(bin, r.gate, world.Refuse, s.places)
			queued := s.upload("queued", "talk.mp4", api.NewConversion{})
			s.noticed(queued)
			r.end((*world.Program).Kill)

			// Of two files in the same state, freeze the one whose turn comes
			// first. When the other one has ended, its turn has certainly come.
			frozen := map[*file]string{left.awaited: "", owed: "", left.queued: "", left.running[0]: ""}
			for f := range frozen {
				s.records.set(f.conv.ID, "format", 99)
				frozen[f] = s.records.document(f.conv.ID)
			}
			r = start(bin)
			s.sink.Become(world.Accept)
			s.send(left.awaited)
			others := append(left.running[1:], queued, left.owed, s.convert("one more", bin, nil, "--notify", "email"))
			for _, f := range others {
				s.end(f)
			}
			waittest.Until(t, limit, "mails about the others have come", func() bool { return len(s.letters()) >= len(others) })
			if n := len(s.letters()); n != len(others) {
				t.Errorf("%d mails, want %d", n, len(others))
			}
			for f, before := range frozen {
				if after := s.records.document(f.conv.ID); after != before {
					t.Errorf("%s: the record was changed:\n got %s\nwant %s", f.what, after, before)
				}
			}
			said := 0
			for _, p := range r.programs {
				log := p.Out.String()
				n := strings.Count(log, "a newer version of Tonearm wrote this record")
				if services := max(1, strings.Count(log, "Tonearm is up.")*3); n > services {
					t.Errorf("a program of %d services says %d times that it leaves records alone", services, n)
				}
				said += n
			}
			if said == 0 {
				t.Error("no program says that it leaves records alone")
			}
		})
	}
}
