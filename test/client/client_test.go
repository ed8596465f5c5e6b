// Package client has the tests of xebec.dev/client against the real server.
package client

import (
	"testing"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/client/clienttest"
	"xebec.dev/test/apiservertest"
)

// dial makes a client of a server by its administrator's kubeconfig.
func dial(t testing.TB, s *apiservertest.Server) *client.Client {
	t.Helper()
	c, err := client.Dial(client.Config{Kubeconfig: s.Kubeconfig}, builtin.Scheme(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the test is over
	return c
}

// options of servers for the suite: pods need no service account there.
var options = []string{"--disable-admission-plugins=ServiceAccount"}

func TestServer(t *testing.T) {
	for _, how := range []struct {
		name string
		stop func(s *apiservertest.Server, t testing.TB)
	}{
		{"killed", func(s *apiservertest.Server, _ testing.TB) { s.Kill() }},
		{"stopped", func(s *apiservertest.Server, t testing.TB) { s.Stop(t) }},
	} {
		t.Run(how.name, func(t *testing.T) {
			clienttest.Run(t, func(t *testing.T) *clienttest.Env {
				etcd := apiservertest.StartEtcd(t)
				s := apiservertest.Start(t, append(options, "--etcd-servers="+etcd)...)
				return &clienttest.Env{
					Client: func(t testing.TB) *client.Client { return dial(t, s) },
					Stop:   func() { how.stop(s, t) },
					Start:  func() { s.Run(t) },
					// The server remembers what etcd does not, for a while: a new
					// one has only etcd's history.
					Compact: func() {
						how.stop(s, t)
						apiservertest.CompactEtcd(t, etcd)
						s.Run(t)
					},
				}
			})
		})
	}
}
