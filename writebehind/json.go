package writebehind

import (
	"bytes"
	"encoding/json"
)

// jsonCodec is the codec of a journal where none is configured.
type jsonCodec[V any] struct{}

func (jsonCodec[V]) Append(dst []byte, v V) ([]byte, error) {
	b := bytes.NewBuffer(dst)
	if err := json.NewEncoder(b).Encode(v); err != nil {
		return dst, err
	}
	return b.Bytes(), nil
}

func (jsonCodec[V]) Decode(p []byte) (v V, err error) {
	err = json.Unmarshal(p, &v)
	return v, err
}
