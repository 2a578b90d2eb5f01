package codec

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// encodable looks for parts of V that the codec of that id would refuse only at the first write,
// or would drop without a word.
func encodable[V any](id byte) error {
	c := typeCheck{seen: map[reflect.Type]bool{}}
	t := reflect.TypeFor[V]()
	switch id {
	case idJSON:
		c.name, c.tags = "JSON", []string{"json"}
		c.own = []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler]()}
		c.textKeys = true
	case idCBOR:
		c.name, c.tags = "CBOR", []string{"cbor", "json"}
		c.own = []reflect.Type{reflect.TypeFor[cbor.Marshaler](), reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.TextMarshaler]()}
	default:
		return nil
	}
	return c.check(t, t.String())
}

type typeCheck struct {
	name     string
	tags     []string
	own      []reflect.Type // a type that implements one of these encodes itself
	textKeys bool           // map keys must become strings
	seen     map[reflect.Type]bool
}

func (c *typeCheck) check(t reflect.Type, path string) error {
	if c.seen[t] || c.encodesItself(t) {
		return nil
	}
	c.seen[t] = true
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return fmt.Errorf("codec: %s cannot encode %s (type %v); leave it out with the tag %s:\"-\" or give a Codec", c.name, path, t, c.tags[0])
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return c.check(t.Elem(), path)
	case reflect.Map:
		if c.textKeys && !textKey(t.Key()) {
			return fmt.Errorf("codec: %s cannot encode %s: map keys of type %v; give a Codec", c.name, path, t.Key())
		}
		return c.check(t.Elem(), path+"[]")
	case reflect.Struct:
		fields, err := c.checkFields(t, path)
		if err == nil && fields == 0 && t.NumField() > 0 {
			return fmt.Errorf("codec: %s would drop all of %s: %v has no exported field; give a Codec", c.name, path, t)
		}
		return err
	}
	return nil
}

// checkFields checks the fields that are encoded and returns how many there are, counting one
// that a tag leaves out: that is a decision too.
func (c *typeCheck) checkFields(t reflect.Type, path string) (int, error) {
	count := 0
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct && !c.leftOut(f) && !c.encodesItself(f.Type) {
			n, err := c.checkFields(f.Type, path) // promoted; an embedded mutex has none
			if err != nil {
				return count, err
			}
			count += n
			continue
		}
		if !f.IsExported() && !f.Anonymous {
			continue
		}
		count++
		if c.leftOut(f) {
			continue
		}
		if err := c.check(f.Type, path+"."+f.Name); err != nil {
			return count, err
		}
	}
	return count, nil
}

func (c *typeCheck) leftOut(f reflect.StructField) bool {
	for _, tag := range c.tags {
		if v, ok := f.Tag.Lookup(tag); ok {
			return v == "-"
		}
	}
	return false
}

func (c *typeCheck) encodesItself(t reflect.Type) bool {
	if t == reflect.TypeFor[big.Int]() {
		return true // CBOR has numbers of any size
	}
	for _, m := range c.own {
		if t.Implements(m) || t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(m) {
			return true
		}
	}
	return false
}

func textKey(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return true
	}
	return t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}
