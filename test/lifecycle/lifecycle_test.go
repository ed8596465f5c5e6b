// Package lifecycle stops, kills and restarts the server.
package lifecycle

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"xebec.dev/test/apiservertest"
)

const maps = "/api/v1/namespaces/default/configmaps"

func configMap(name string) io.Reader {
	return strings.NewReader(fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q},"data":{"a":"b"}}`, name))
}

func create(client *http.Client, base, name string) (int, error) {
	resp, err := client.Post(base+maps, "application/json", configMap(name))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

type list struct {
	Metadata struct{ ResourceVersion string }
	Items    []struct {
		Metadata struct{ Name, UID, ResourceVersion string }
	}
}

func get(t *testing.T, client *http.Client, url string) (int, []byte) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, text
}

func listed(t *testing.T, client *http.Client, url string) list {
	t.Helper()
	code, text := get(t, client, url)
	var l list
	if err := json.Unmarshal(text, &l); err != nil || code != http.StatusOK {
		t.Fatalf("%d %.200s %v", code, text, err)
	}
	return l
}

// TestTerminate: after SIGTERM readiness fails first while requests are still
// served, watches end in order, writes under way are answered.
func TestTerminate(t *testing.T) {
	t.Parallel()
	s := apiservertest.Start(t, "--shutdown-delay-duration=2s")
	client := s.Client(t)
	if code, err := create(client, s.URL, "before"); err != nil || code != http.StatusCreated {
		t.Fatal(code, err)
	}
	watch, err := client.Get(s.URL + maps + "?watch=1")
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Body.Close()
	events := bufio.NewReader(watch.Body)
	if line, err := events.ReadString('\n'); err != nil || !strings.Contains(line, "before") {
		t.Fatal(line, err)
	}
	// A write whose body arrives slowly, begun before the signal.
	reader, writer := io.Pipe()
	slow := make(chan error, 1)
	go func() {
		resp, err := client.Post(s.URL+maps, "application/json", reader)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				err = errors.New(resp.Status)
			}
		}
		slow <- err
	}()
	body, err := io.ReadAll(configMap("slow"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Write(body[:10]); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		code, text := get(t, client, s.URL+"/readyz")
		if code != http.StatusOK {
			if !bytes.Contains(text, []byte("[-]shutdown failed")) {
				t.Errorf("readyz: %s", text)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("ready though told to stop")
		}
	}
	if code, err := create(client, s.URL, "during"); err != nil || code != http.StatusCreated {
		t.Errorf("a write while load balancers take notice: %d, %v", code, err)
	}
	if code, _ := get(t, client, s.URL+"/livez"); code != http.StatusOK {
		t.Errorf("livez: %d", code)
	}
	if _, err := writer.Write(body[10:]); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	if err := <-slow; err != nil {
		t.Errorf("the slow write: %v", err)
	}
	rest, err := io.ReadAll(events)
	if err != nil {
		t.Errorf("the watch did not end in order: %v", err)
	}
	// The slow write may have come after the watches were closed.
	if !bytes.Contains(rest, []byte("during")) {
		t.Errorf("the watch ended without what was written before: %s", rest)
	}
	s.Stop(t)
	s.Run(t)
	names := map[string]bool{}
	for _, i := range listed(t, s.Client(t), s.URL+maps).Items {
		names[i.Metadata.Name] = true
	}
	if !names["before"] || !names["during"] || !names["slow"] {
		t.Errorf("after the restart %v", names)
	}
}

// TestTerminateUnderLoad: every write is answered with a status, none that was
// acknowledged is lost, and the process ends in time.
func TestTerminateUnderLoad(t *testing.T) {
	t.Parallel()
	underLoad(t, func(s *apiservertest.Server) { s.Stop(t) })
}

// TestKill is the same by kill -9: what was acknowledged stays.
func TestKill(t *testing.T) {
	t.Parallel()
	underLoad(t, func(s *apiservertest.Server) { s.Kill() })
}

func underLoad(t *testing.T, end func(*apiservertest.Server)) {
	s := apiservertest.Start(t)
	client := s.Client(t)
	var acknowledged sync.Map
	var count atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				name := fmt.Sprintf("w%d-%d", w, i)
				code, err := create(client, s.URL, name)
				if err != nil {
					return // the server is gone
				}
				if code == http.StatusCreated {
					acknowledged.Store(name, true)
					count.Add(1)
				}
			}
		})
	}
	for count.Load() < 500 {
		time.Sleep(time.Millisecond)
	}
	end(s)
	stop.Store(true)
	wg.Wait()
	s.Run(t)
	have := map[string]bool{}
	for _, i := range listed(t, s.Client(t), s.URL+maps).Items {
		have[i.Metadata.Name] = true
	}
	lost := 0
	acknowledged.Range(func(name, _ any) bool {
		if !have[name.(string)] {
			lost++
		}
		return true
	})
	if lost > 0 {
		t.Errorf("%d of %d acknowledged writes are lost", lost, count.Load())
	}
}

// TestRestart: objects, their versions, tokens and the certificates stay.
func TestRestart(t *testing.T) {
	t.Parallel()
	s := apiservertest.Start(t)
	client := s.Client(t)
	for i := range 20 {
		if code, err := create(client, s.URL, fmt.Sprintf("c%d", i)); err != nil || code != http.StatusCreated {
			t.Fatal(code, err)
		}
	}
	post := func(path, body string) []byte {
		resp, err := client.Post(s.URL+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusCreated {
			t.Fatalf("%s: %s %s %v", path, resp.Status, text, err)
		}
		return text
	}
	post("/api/v1/namespaces/default/serviceaccounts", `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"robot"}}`)
	var token struct{ Status struct{ Token string } }
	if err := json.Unmarshal(post("/api/v1/namespaces/default/serviceaccounts/robot/token", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}`), &token); err != nil {
		t.Fatal(err)
	}
	review := func() string {
		var r struct {
			Status struct{ User struct{ Username string } }
		}
		if err := json.Unmarshal(post("/apis/authentication.k8s.io/v1/tokenreviews", fmt.Sprintf(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":%q}}`, token.Status.Token)), &r); err != nil {
			t.Fatal(err)
		}
		return r.Status.User.Username
	}
	const user = "system:serviceaccount:default:robot"
	if got := review(); got != user {
		t.Fatalf("a token of %q", got)
	}
	before := listed(t, client, s.URL+maps)
	for range 2 {
		s.Stop(t)
		s.Run(t)
		client.CloseIdleConnections()
	}
	if got := review(); got != user {
		t.Errorf("after the restart the token is of %q", got)
	}
	after := listed(t, client, s.URL+maps)
	if fmt.Sprint(before.Items) != fmt.Sprint(after.Items) {
		t.Errorf("objects changed\n%v\n%v", before.Items, after.Items)
	}
	// The past is still there to watch.
	code, text := get(t, client, s.URL+maps+"?watch=1&timeoutSeconds=1&resourceVersion="+before.Metadata.ResourceVersion)
	if code != http.StatusOK || bytes.Contains(text, []byte(`"ERROR"`)) {
		t.Errorf("a watch from before the restart: %d %s", code, text)
	}
}

// TestFlags: wrong ones end the process with a reason, and no stack.
func TestFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--nonsense"}, {"--secure-port=x", "--data-dir=" + t.TempDir()}, {},
		{"--data-dir=" + t.TempDir(), "--authorization-mode=Nonsense"},
		{"--data-dir=" + t.TempDir(), "--enable-admission-plugins=Nonsense"},
		{"--data-dir=" + t.TempDir(), "--tls-cert-file=/does/not/exist"},
	} {
		out, err := exec.Command(apiservertest.Binary("kube-apiserver"), args...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() <= 0 {
			t.Errorf("%v: %v", args, err)
		}
		if len(out) == 0 || bytes.Contains(out, []byte("goroutine ")) {
			t.Errorf("%v: %s", args, out)
		}
	}
}

// TestLeave: a server that stops in order is no longer among those of the
// kubernetes Service, at once; others are.
func TestLeave(t *testing.T) {
	t.Parallel()
	etcd := apiservertest.StartEtcd(t)
	stays := apiservertest.Start(t, "--etcd-servers="+etcd, "--advertise-address=192.0.2.1")
	leaves := apiservertest.Start(t, "--etcd-servers="+etcd, "--advertise-address=192.0.2.2")
	client := stays.Client(t)
	addresses := func() string {
		var s struct {
			Endpoints []struct{ Addresses []string }
		}
		code, text := get(t, client, stays.URL+"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
		if err := json.Unmarshal(text, &s); err != nil || code != http.StatusOK {
			t.Fatalf("%d %s %v", code, text, err)
		}
		return fmt.Sprint(s.Endpoints)
	}
	for deadline := time.Now().Add(time.Minute); addresses() != "[{[192.0.2.1]} {[192.0.2.2]}]"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("two servers are %s", addresses())
		}
	}
	leaves.Stop(t)
	if have := addresses(); have != "[{[192.0.2.1]}]" {
		t.Errorf("after one has stopped: %s", have)
	}
}

// TestWithoutEtcd: a server that waits for etcd says so, to whoever asks how
// it is; it forbids nothing for want of rules.
func TestWithoutEtcd(t *testing.T) {
	t.Parallel()
	dir, port := t.TempDir(), apiservertest.FreePort(t)
	s := &apiservertest.Server{Dir: dir, URL: fmt.Sprintf("https://127.0.0.1:%d", port)}
	cmd := exec.Command(apiservertest.Binary("kube-apiserver"), "--data-dir="+dir, "--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port), fmt.Sprintf("--etcd-servers=http://127.0.0.1:%d", apiservertest.FreePort(t)))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it is over
		_ = cmd.Wait()
	})
	anybody := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // a probe, no secrets
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		resp, err := anybody.Get(s.URL + "/livez")
		if err != nil && time.Now().After(deadline) {
			t.Fatal(err)
		} else if err != nil {
			continue
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusInternalServerError || !bytes.Contains(text, []byte("[-]etcd failed")) {
			t.Errorf("livez: %s %s %v", resp.Status, text, err)
		}
		break
	}
	for _, path := range []string{"/version", "/api/v1/nodes"} {
		resp, err := anybody.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "1" || !bytes.Contains(text, []byte("waits for etcd")) {
			t.Errorf("%s: %s %s %v", path, resp.Status, text, err)
		}
	}
}
