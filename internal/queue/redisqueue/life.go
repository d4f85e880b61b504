package redisqueue

import (
	"sync"

	"tonearm/internal/queue"
)

// life is one life of a class: its name, and how many scripts have written in it
// as far as this process has seen.
type life struct {
	name   string
	writes int64
}

// lives are those of each class that this process has seen last.
type lives struct {
	mu   sync.Mutex
	seen map[queue.Class]life
}

func (l *lives) known(class queue.Class) life {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[class]
}

// saw notes the life in an answer to a call that was sent when before was
// known. Answers may overtake each other: one of the same life never lowers the
// count, and one of another life counts only if no other answer has changed the
// name meanwhile.
func (l *lives) saw(class queue.Class, before, now life) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[queue.Class]life{}
	}
	switch present := l.seen[class]; {
	case present.name == now.name:
		now.writes = max(now.writes, present.writes)
	case present.name != before.name:
		return
	}
	l.seen[class] = now
}
