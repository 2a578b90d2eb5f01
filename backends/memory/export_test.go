package memory

// Kept returns how many items are in memory, expired or not.
func (s *Store) Kept() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.items)
}
