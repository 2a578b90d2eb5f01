// Package iface looks at what an interface value holds, for constructors that refuse what cannot
// work: a nil pointer in an interface is not nil, and == on two interfaces can panic.
package iface

import "reflect"

// IsNil reports whether v is nil, or holds a nil pointer, function, map, slice or channel.
func IsNil(v any) bool {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Chan, reflect.Slice:
		return r.IsNil()
	}
	return false
}

// Same reports whether a and b certainly are one thing: equal, of a type that can be compared and
// that has a state to share. Two pointers to nothing may be equal without being one.
func Same(a, b any) bool {
	if IsNil(a) || IsNil(b) {
		return false
	}
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	if x.Type() != y.Type() || !x.Comparable() || !y.Comparable() || a != b {
		return false
	}
	t := x.Type()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Size() > 0
}
