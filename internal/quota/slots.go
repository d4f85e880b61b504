package quota

import (
	"sync"
	"time"

	"tonearm/internal/account"
)

// Slots limit what is open at a time, of each user and of all together. It is for use
// by any number of goroutines.
type Slots struct {
	quota account.Quota
	most  int64         // of all; account.Unlimited for none
	retry time.Duration // when it may be worth a further try

	mu   sync.Mutex
	open int64
	of   map[string]int64 // by user
}

// NewSlots returns slots of a quota, most of them for all users together.
func NewSlots(q account.Quota, most int64, retry time.Duration) *Slots {
	return &Slots{quota: q, most: most, retry: retry, of: map[string]int64{}}
}

// OfAll is the name of the limit for all users together.
func (s *Slots) OfAll() account.Quota { return s.quota + "_overall" }

// Enter takes a slot for a user who may have this many; *Exceeded. leave must follow,
// once.
func (s *Slots) Enter(userID string, limit int64) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if limit > 0 && s.of[userID] >= limit {
		return nil, &Exceeded{Quota: s.quota, Limit: limit, Retry: s.retry}
	}
	if s.most > 0 && s.open >= s.most {
		return nil, &Exceeded{Quota: s.OfAll(), Limit: s.most, Retry: s.retry}
	}
	s.open++
	s.of[userID]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
		if s.of[userID]--; s.of[userID] == 0 {
			delete(s.of, userID)
		}
	}, nil
}

// Open is how many are open, of all users and of this one.
func (s *Slots) Open(userID string) (all, own int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open, s.of[userID]
}
