package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
)

// etcd's own protocol, spoken by the same client as the servers': what is
// measured as raw is etcd and not a client library.

var grpcHeader = []string{"content-type", "application/grpc", "te", "trailers"}

// message is a gRPC message with its prefix.
func message(body []byte) []byte {
	out := make([]byte, 5, 5+len(body))
	binary.BigEndian.PutUint32(out[1:], uint32(len(body)))
	return append(out, body...)
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func putRequest(key string, value []byte) []byte {
	return appendBytes(appendBytes(nil, 1, []byte(key)), 2, value)
}

// createTxn puts a key if it does not exist.
func createTxn(key string, value []byte) []byte {
	var compare []byte
	compare = protowire.AppendVarint(protowire.AppendTag(compare, 2, protowire.VarintType), 2) // target: MOD
	compare = appendBytes(compare, 3, []byte(key))
	compare = protowire.AppendVarint(protowire.AppendTag(compare, 6, protowire.VarintType), 0) // mod_revision
	txn := appendBytes(nil, 1, compare)
	return appendBytes(txn, 2, appendBytes(nil, 2, putRequest(key, value)))
}

func call(c *conn, method string, body []byte) ([]byte, error) {
	var answer bytes.Buffer
	s, err := c.do(request{method: "POST", path: method, header: grpcHeader, body: message(body), onData: func(b []byte) { answer.Write(b) }})
	if err != nil {
		return nil, err
	}
	if s.grpc != "0" {
		return nil, fmt.Errorf("%s: HTTP %d, gRPC status %q", method, s.status, s.grpc)
	}
	return answer.Bytes(), nil
}

func create(c *conn, key string, value []byte) error {
	answer, err := call(c, "/etcdserverpb.KV/Txn", createTxn(key, value))
	if err != nil {
		return err
	}
	// succeeded is field 2, after the header.
	if len(answer) < 7 || !bytes.Contains(answer[5:], []byte{0x10, 1}) {
		return fmt.Errorf("key %s exists", key)
	}
	return nil
}

func put(c *conn, key string, value []byte) error {
	_, err := call(c, "/etcdserverpb.KV/Put", putRequest(key, value))
	return err
}

// read finds a key's value, nil when there is none, and etcd's revision.
func read(address, key string) (value []byte, revision int64, err error) {
	c, err := dial(address, nil)
	if err != nil {
		return nil, 0, err
	}
	defer c.close()
	answer, err := call(c, "/etcdserverpb.KV/Range", appendBytes(nil, 1, []byte(key)))
	if err != nil {
		return nil, 0, err
	}
	header, _, err := field(answer[5:], 1)
	if err != nil {
		return nil, 0, err
	}
	_, r, err := field(header, 3)
	if err != nil {
		return nil, 0, err
	}
	if kv, _, err := field(answer[5:], 2); err == nil {
		value, _, _ = field(kv, 5) // an empty value has no field
	}
	return value, int64(r), nil
}

// revision is etcd's present one.
func revision(address string) (int64, error) {
	_, r, err := read(address, "none")
	return r, err
}

// field finds the first field of a number: its bytes or its varint.
func field(b []byte, want protowire.Number) ([]byte, uint64, error) {
	for len(b) > 0 {
		n, t, k := protowire.ConsumeTag(b)
		if k < 0 {
			return nil, 0, protowire.ParseError(k)
		}
		b = b[k:]
		k = protowire.ConsumeFieldValue(n, t, b)
		if k < 0 {
			return nil, 0, protowire.ParseError(k)
		}
		if n == want {
			v, _ := protowire.ConsumeVarint(b)
			raw, _ := protowire.ConsumeBytes(b)
			return raw, v, nil
		}
		b = b[k:]
	}
	return nil, 0, fmt.Errorf("no field %d", want)
}

// seed stores pods from, from+1 … to-1 below each prefix, as the servers would.
func seed(address string, prefixes []string, from, to int) error {
	const batch = 12 // of 3 KB: within the first HTTP/2 window
	pods := storedPod()
	var wg sync.WaitGroup
	errs := make(chan error, 4)
	for w := range 4 {
		wg.Go(func() {
			c, err := dial(address, nil)
			if err != nil {
				errs <- err
				return
			}
			defer c.close()
			for at := from + w*batch; at < to; at += 4 * batch {
				for _, prefix := range prefixes {
					var txn []byte
					for n := at; n < min(at+batch, to); n++ {
						key := prefix + "/pods/" + namespace + "/" + podName('s', n)
						txn = appendBytes(txn, 2, appendBytes(nil, 2, putRequest(key, pods.pod('s', n))))
					}
					if _, err := call(c, "/etcdserverpb.KV/Txn", txn); err != nil {
						errs <- err
						return
					}
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return fmt.Errorf("seed pods: %w", err)
	default:
		return nil
	}
}
