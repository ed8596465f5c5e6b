package clienttest

import (
	"testing"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
)

func TestServerInMemory(t *testing.T) {
	Run(t, func(t *testing.T) *Env {
		s := New(t, builtin.Scheme())
		return &Env{
			Client: func(t testing.TB) *client.Client { return s.Client(t) },
			Stop:   s.Stop, Start: s.Start, Compact: s.Compact,
		}
	})
}
