package rpc

import (
	"crypto/tls"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

type tlsConn interface{ ConnectionState() tls.ConnectionState }

// Encoded is a message whose wire form is made already, in pieces that nobody
// changes any more: a batch of events, with the bytes of the cache.
type Encoded mem.BufferSlice

// codec is gRPC's own, which lets Encoded messages through as they are.
type codec struct{}

func (codec) Name() string { return proto.Name }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	if e, ok := v.(Encoded); ok {
		return mem.BufferSlice(e), nil
	}
	return encoding.GetCodecV2(proto.Name).Marshal(v)
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	return encoding.GetCodecV2(proto.Name).Unmarshal(data, v)
}
