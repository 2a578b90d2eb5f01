// Package journaltest holds what every journal of package writebehind must do, as tests, and a
// journal in memory that passes them and can be made to fail.
//
//	func TestJournal(t *testing.T) {
//		path := filepath.Join(t.TempDir(), "j")
//		journaltest.Run(t, func(t *testing.T) writebehind.Journal { return open(t, path) })
//	}
package journaltest
