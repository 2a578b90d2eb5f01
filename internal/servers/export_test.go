package servers

// Orphan returns the options without the tie to this process's life.
func Orphan(o Options) Options {
	o.orphan = true
	return o
}
