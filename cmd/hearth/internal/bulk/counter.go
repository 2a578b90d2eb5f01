package bulk

import "bytes"

// pads reports whether values of e may have to lose their padding on the way to o: memcached
// leaves blanks where a counter that was decremented has fewer digits than before, and reads them
// as a number; Redis does not.
func (e *Endpoint) pads(o *Endpoint) bool {
	_, mem := e.endpoint.(*memEnd)
	_, red := o.endpoint.(*redisEnd)
	return mem && red
}

// unpad takes the padding off the counters among recs.
func unpad(recs []*Record) {
	for _, r := range recs {
		if r.Fate == Pending {
			r.Value = unpadded(r.Value)
		}
	}
}

// unpadded returns v without the blanks behind what is otherwise a number.
func unpadded(v []byte) []byte {
	const longest = 20 // digits of a counter of 64 bits
	if len(v) == 0 || len(v) > longest || v[len(v)-1] != ' ' {
		return v
	}
	digits := bytes.TrimRight(v, " ")
	for _, c := range digits {
		if c < '0' || c > '9' {
			return v
		}
	}
	if len(digits) == 0 {
		return v
	}
	return digits
}
