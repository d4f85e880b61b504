package sqlaccount

import (
	"context"
	"slices"
	"sync"

	"tonearm/internal/account"
)

// waitingOfNetwork is how many hashes of one network may wait for a slot.
const waitingOfNetwork = 32

// turns gives slots to whoever waits for one. Networks take turns: however many
// wait of one network, one of another waits for at most one turn of each.
type turns struct {
	mu      sync.Mutex
	free    int                        // slots; nobody waits while there is one
	order   []string                   // networks with somebody who waits, whose turn it is first
	waiting map[string][]chan struct{} // by network, closed when they have a slot
}

func newTurns(slots int) *turns {
	return &turns{free: slots, waiting: map[string][]chan struct{}{}}
}

// take waits for a slot, which give gives back. account.ErrBusy: too many of this
// network wait. What comes from no network is the operator's, and always may.
func (t *turns) take(ctx context.Context, network string) error {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return nil
	}
	line := t.waiting[network]
	if network != "" && len(line) >= waitingOfNetwork {
		t.mu.Unlock()
		return account.ErrBusy
	}
	if len(line) == 0 {
		t.order = append(t.order, network)
	}
	mine := make(chan struct{})
	t.waiting[network] = append(line, mine)
	t.mu.Unlock()

	select {
	case <-mine:
		return nil
	case <-ctx.Done():
	}
	if !t.leave(network, mine) {
		t.give() // it came just now
	}
	return context.Cause(ctx)
}

// give passes a slot on.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.order) == 0 {
		t.free++
		return
	}
	network := t.order[0]
	t.order = t.order[1:]
	line := t.waiting[network]
	t.wait(network, line[1:])
	if len(line) > 1 {
		t.order = append(t.order, network)
	}
	close(line[0])
}

// leave takes one that waits out of the line, unless it has a slot by now.
func (t *turns) leave(network string, mine chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.waiting[network], mine)
	if i < 0 {
		return false
	}
	t.wait(network, slices.Delete(t.waiting[network], i, i+1))
	if len(t.waiting[network]) == 0 {
		i := slices.Index(t.order, network)
		t.order = slices.Delete(t.order, i, i+1)
	}
	return true
}

func (t *turns) wait(network string, line []chan struct{}) {
	if len(line) == 0 {
		delete(t.waiting, network)
		return
	}
	t.waiting[network] = line
}
