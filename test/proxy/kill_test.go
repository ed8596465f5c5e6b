package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// F27: kube-proxy is killed and started again and again beside 1,000 services
// and 500 connections: none is reset, new ones are made all the time, and at no
// instant are the rules not there.
func TestKilled(t *testing.T) {
	const services, connections, kills = 1000, 500, 10
	backend := netip.MustParseAddr("10.255.0.1")
	for _, args := range [][]string{
		{"addr", "add", backend.String() + "/32", "dev", "lo"},
		{"route", "add", "10.96.0.0/12", "dev", "lo"}, // for the first look at where a packet goes
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	echo(t, backend.String()+":8080")
	c, r := newCluster(t, services)
	live, err := c.kube.CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("web-", services)},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}}},
	}, metav1.CreateOptions{})
	if err == nil {
		_, err = c.kube.DiscoveryV1().EndpointSlices("default").Create(t.Context(), slice(services, []netip.Addr{backend}), metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	r.wait(t, backend, time.Minute)
	address := live.Spec.ClusterIP + ":80"
	var conns []net.Conn
	for range connections {
		conn, err := net.DialTimeout("tcp", address, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	var looks, dials int
	watching.Go(func() {
		for ; ctx.Err() == nil; looks++ {
			element := fmt.Sprintf("{ %s . tcp . 80 }", live.Spec.ClusterIP)
			out, err := exec.CommandContext(ctx, "nft", "get", "element", "ip", "kube-proxy", "services", element).CombinedOutput()
			if err != nil && ctx.Err() == nil {
				t.Errorf("look %d: the service is not in the rules: %v: %s", looks, err, out)
				return
			}
		}
	})
	watching.Go(func() {
		for ; ctx.Err() == nil; dials++ {
			conn, err := net.DialTimeout("tcp", address, time.Minute)
			if err == nil {
				err = answer(conn, "new")
				_ = conn.Close()
			}
			if err != nil {
				t.Errorf("new connection %d: %v", dials, err)
				return
			}
		}
	})
	for i := range kills {
		c.stop()
		if err := answer(conns[i], "without kube-proxy"); err != nil {
			t.Error(err)
		}
		c.start(t, c.kubeconfig)
		c.change(t, r, i, netip.AddrFrom4([4]byte{10, 250, 2, byte(i + 1)})) // it has written everything anew
	}
	cancel()
	watching.Wait()
	t.Logf("%d kills, %d looks at the rules, %d new connections", kills, looks, dials)
	if looks == 0 || dials < kills {
		t.Error("there was no time between two kills to see anything")
	}
	for i, conn := range conns {
		if err := answer(conn, "still here"); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
}

// echo serves what sends back what comes.
func echo(t *testing.T, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn) // until the other side closes
				_ = conn.Close()
			}()
		}
	}()
}

func answer(conn net.Conn, text string) error {
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	back := make([]byte, len(text))
	if _, err := io.ReadFull(conn, back); err != nil {
		return err
	}
	if string(back) != text {
		return fmt.Errorf("sent %q, %q came back", text, back)
	}
	return nil
}
