package bolt

// replaceable: Windows does not let go of the name of an open file, so files are not compacted;
// their free pages are used again all the same.
const replaceable = false

// syncDir does nothing: Windows has no such call, and keeps names in the journal of its own.
func syncDir(string) error { return nil }
