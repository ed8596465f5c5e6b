package storage

import "sync"

// Memo keeps encodings of one event so that watchers of one media type share
// the bytes. The zero value is ready.
type Memo struct {
	mu sync.Mutex
	// guarded by mu: a few entries, so a slice beats a map.
	entries []memoEntry
	dropped bool
}

type memoEntry struct {
	key   uint64
	bytes []byte
}

// Get returns the bytes for key, made once. make must not call Get.
func (m *Memo) Get(key uint64, make func() ([]byte, error)) ([]byte, error) {
	if m == nil {
		return make()
	}
	m.mu.Lock()
	if m.dropped {
		m.mu.Unlock()
		return make()
	}
	defer m.mu.Unlock()
	for i := range m.entries {
		if m.entries[i].key == key {
			return m.entries[i].bytes, nil
		}
	}
	b, err := make()
	if err != nil {
		return nil, err
	}
	m.entries = append(m.entries, memoEntry{key, b})
	return b, nil
}

// Drop forgets the bytes and keeps none from now on.
func (m *Memo) Drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries, m.dropped = nil, true
}
