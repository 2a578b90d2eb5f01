package memcachedtest

import "slices"

// mode is how a storage command treats what is there.
type mode int

const (
	modeSet mode = iota
	modeAdd
	modeReplace
	modeAppend
	modePrepend
	modeCAS
)

// outcome is the answer of a storage command.
type outcome int

const (
	stored outcome = iota
	notStored
	exists
	notFound
)

// write is one storage command with its data.
type write struct {
	mode    mode
	key     string
	item    *item
	cas     uint64 // the id it must match
	invalid bool   // ms I: an older cas id stores, marked as stale
	as      uint64 // ms E: the new cas id, 0 for the next one
}

// write carries out w.
func (st *store) write(w write) outcome {
	st.counts.sets++
	old := st.peek(w.key)
	if old == nil {
		return st.writeNew(w)
	}
	switch w.mode {
	case modeAdd:
		old.used = st.now()
		return notStored
	case modeCAS:
		if old.cas == w.cas {
			break
		}
		if !w.invalid || w.cas == 0 || w.cas >= old.cas {
			return exists
		}
		w.item.expires, w.item.stale, w.item.won = old.expires, true, old.won
	case modeAppend, modePrepend:
		return st.join(w, old)
	}
	st.place(w, w.item)
	return stored
}

func (st *store) writeNew(w write) outcome {
	switch w.mode {
	case modeCAS:
		return notFound
	case modeReplace, modeAppend, modePrepend:
		return notStored
	}
	st.place(w, w.item)
	return stored
}

// join appends or prepends: flags and expiry stay those of the old item; that its
// key once came in base64 is forgotten, as in 1.6.18.
func (st *store) join(w write, old *item) outcome {
	if w.cas != 0 && w.cas != old.cas {
		return exists
	}
	if !st.fits(w.key, old.flags, len(old.value)+len(w.item.value)) {
		return notStored
	}
	value := slices.Concat(old.value, w.item.value)
	if w.mode == modePrepend {
		value = slices.Concat(w.item.value, old.value)
	}
	st.place(w, &item{value: value, flags: old.flags, expires: old.expires})
	w.item.cas = st.items[w.key].cas
	return stored
}

// place stores the item under the cas id the command wants.
func (st *store) place(w write, it *item) {
	st.put(w.key, it)
	if w.as != 0 {
		it.cas = w.as
		st.lastCAS = max(st.lastCAS, w.as)
	}
}
