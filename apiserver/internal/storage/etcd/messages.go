package etcd

import (
	"bytes"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"xebec.dev/apiserver/internal/storage/kv"
)

// etcd's answers, read into what the store passes on. The values of pages are
// copied: a buffer of megabytes must not stay for one object in it. Those of
// events are not: most are our own writes, which nobody needs again.

// Tags are a field's number, shifted, and how it is written.
const (
	asNumber = uint64(protowire.VarintType)
	asBytes  = uint64(protowire.BytesType)
)

// fields calls f with each field of a message: its bytes, or its number.
func fields(b []byte, f func(tag uint64, raw []byte, v uint64) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		var raw []byte
		var v uint64
		switch kind {
		case protowire.BytesType:
			raw, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := f(protowire.EncodeTag(field, kind), raw, v); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// openHeader reads the revision of a ResponseHeader.
func openHeader(b []byte, revision *int64) error {
	return fields(b, func(tag uint64, _ []byte, v uint64) error {
		if tag == 3<<3|asNumber {
			*revision = int64(v)
		}
		return nil
	})
}

// keyValue is a KeyValue; its bytes are etcd's answer's.
type keyValue struct {
	key, value []byte
	revision   int64
}

func (e *keyValue) open(b []byte) error {
	return fields(b, func(tag uint64, raw []byte, v uint64) error {
		switch tag {
		case 1<<3 | asBytes:
			e.key = raw
		case 3<<3 | asNumber:
			e.revision = int64(v)
		case 5<<3 | asBytes:
			e.value = raw
		}
		return nil
	})
}

// openPage reads a RangeResponse.
func (s *Store) openPage(b []byte, page *kv.Page) error {
	var keys strings.Builder // of all entries, one after the other
	var ends []int
	err := fields(b, func(tag uint64, raw []byte, v uint64) (err error) {
		switch tag {
		case 1<<3 | asBytes:
			err = openHeader(raw, &page.Revision)
		case 2<<3 | asBytes:
			var e keyValue
			if err := e.open(raw); err != nil {
				return err
			}
			key, ok := bytes.CutPrefix(e.key, []byte(s.prefix))
			if !ok {
				return fmt.Errorf("etcd answers with key %q", e.key)
			}
			keys.Write(key)
			ends = append(ends, keys.Len())
			page.Entries = append(page.Entries, kv.Entry{Value: bytes.Clone(e.value), Revision: e.revision})
		case 3<<3 | asNumber:
			page.More = v != 0
		case 4<<3 | asNumber:
			page.Count = int64(v)
		}
		return err
	})
	at := 0
	for i, end := range ends {
		page.Entries[i].Key = keys.String()[at:end]
		at = end
	}
	return err
}

// told is a WatchResponse.
type told struct {
	revision                    int64
	created, canceled, fragment bool
	compacted                   int64
	reason                      string
	events                      []kv.Event
}

// openTold reads a WatchResponse of a watch below the prefix.
func (s *Store) openTold(b []byte) (told, error) {
	var t told
	err := fields(b, func(tag uint64, raw []byte, v uint64) (err error) {
		switch tag {
		case 1<<3 | asBytes:
			err = openHeader(raw, &t.revision)
		case 3<<3 | asNumber:
			t.created = v != 0
		case 4<<3 | asNumber:
			t.canceled = v != 0
		case 5<<3 | asNumber:
			t.compacted = int64(v)
		case 6<<3 | asBytes:
			t.reason = string(raw)
		case 7<<3 | asNumber:
			t.fragment = v != 0
		case 11<<3 | asBytes:
			var e kv.Event
			if e, err = s.openEvent(raw); err == nil {
				t.events = append(t.events, e)
			}
		}
		return err
	})
	return t, err
}

func (s *Store) openEvent(b []byte) (kv.Event, error) {
	var out kv.Event
	var e keyValue
	err := fields(b, func(tag uint64, raw []byte, v uint64) error {
		switch tag {
		case 1<<3 | asNumber:
			out.Delete = int32(v) == 1
		case 2<<3 | asBytes:
			return e.open(raw)
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	key, ok := bytes.CutPrefix(e.key, []byte(s.prefix))
	if !ok {
		return out, fmt.Errorf("etcd tells of key %q", e.key)
	}
	out.Key, out.Value, out.Revision = string(key), e.value, e.revision
	return out, nil
}
