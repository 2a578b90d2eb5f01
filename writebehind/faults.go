package writebehind

// endLane is the fault removeByKey: whatever waits for the key counts as done.
func (w *Writer[V]) endLane(key string) {
	for l := w.lanes[key]; l != nil && len(l.ops) > 0; {
		w.end(l.ops[0], nil)
	}
}

// detach is the fault anyOrder: the operation leaves its lane while it is being applied, so that
// the next of the key may start.
func (w *Writer[V]) detach(o *op[V]) {
	entries, bytes, reserved := w.entries, w.bytes, o.reserved
	w.unlink(o)
	w.entries, w.bytes, o.reserved = entries, bytes, reserved
	o.lane = &lane[V]{ops: []*op[V]{o}}
	o.elem = w.order.PushBack(o)
	w.waiting.Add(1)
}
