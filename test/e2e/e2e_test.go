// Package e2e judges a cluster deployed in earnest, with real containers, by
// kubectl: two nodes as network namespaces of this machine, the control plane
// in static pods, kube-proxy and CoreDNS from the chart.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"xebec.dev/test/apiservertest"
	"xebec.dev/test/cluster"
	"xebec.dev/test/kubelet/nodetest"
)

// What all tests share: the cluster, its API by client-go, and the program
// of client/, as a file and as an image's archive.
var (
	running       *cluster.Cluster
	api           *kubernetes.Clientset
	config        *rest.Config
	clientProgram string
	clientArchive string
)

// Images that every node has; agent is the program of client/.
const (
	web     = "xebec.dev/web:v1"
	busybox = "xebec.dev/busybox:v1"
	agent   = "xebec.dev/e2e-client:v1"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		// Most tests wait most of the time.
		_ = f.Value.Set("6") // a number
	}
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	dir, err := cluster.Scratch(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	clientProgram, clientArchive = filepath.Join(dir, "client"), filepath.Join(dir, "client.tar")
	_, here, _, _ := runtime.Caller(0)
	if err := errors.Join(nodetest.Build(filepath.Join(filepath.Dir(here), "client"), clientProgram),
		nodetest.Image(agent, "client", clientProgram, clientArchive)); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: the image of client/:", err)
		return 1
	}
	c, err := cluster.New(ctx, cluster.Options{Nodes: 2}, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e: the cluster did not come up:", err)
		return 1
	}
	running = c
	defer func() {
		if err := c.Down(); err != nil {
			fmt.Fprintln(os.Stderr, "e2e: what the cluster left behind:", err)
			code = 1
		}
	}()
	if err := connect(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	if code = m.Run(); code != 0 {
		report()
	}
	return code
}

// connect readies what tests use of the cluster.
func connect(ctx context.Context) (err error) {
	if err = running.Import(ctx, clientArchive, running.Members()...); err != nil {
		return err
	}
	if config, err = clientcmd.BuildConfigFromFlags("", running.Kubeconfig()); err != nil {
		return err
	}
	config.QPS, config.UserAgent, config.WarningHandler = -1, "e2e", rest.NoWarnings{}
	if api, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	return startToken(ctx)
}

// report prints what a person would look at first.
func report() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, args := range [][]string{{"get", "nodes,pods", "-A", "-o", "wide"}, {"get", "events", "-A", "--field-selector=type=Warning"}} {
		out, err := running.Kubectl(ctx, args...)
		fmt.Fprintln(os.Stderr, out, err)
	}
	fmt.Fprintln(os.Stderr, running.Logs(40))
}

// user is kubectl in one namespace.
type user struct {
	t         *testing.T
	namespace string
	stdin     string
}

// newUser makes the namespace, which goes with the test.
func newUser(t *testing.T, namespace string) user {
	t.Helper()
	u := user{t: t, namespace: namespace}
	u.run("create", "namespace", namespace)
	t.Cleanup(func() {
		if t.Failed() {
			u.failed()
			return
		}
		u.run("delete", "namespace", namespace, "--wait=false")
	})
	// Pods need the account, which a controller makes.
	u.until("the default service account", func() error { return u.try("get", "serviceaccount", "default") })
	return u
}

func (u user) in(stdin string) user { u.stdin = stdin; return u }

// limit is how long anything may take on a machine that does much else.
const limit = 3 * time.Minute

func (u user) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, apiservertest.Binary("kubectl"), append([]string{"-n", u.namespace}, args...)...)
	c.Env = append(os.Environ(), "KUBECONFIG="+running.Kubeconfig())
	c.Stdin = strings.NewReader(u.stdin)
	return c
}

// output runs kubectl; the error has what it said.
func (u user) output(args ...string) (string, error) {
	// kubectl has the same limit where it waits, and says then for what.
	ctx, cancel := context.WithTimeout(context.Background(), limit+limit/4)
	defer cancel()
	c := u.command(ctx, args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s%s", strings.Join(args, " "), err, &out, &errs)
	}
	return strings.TrimSpace(out.String()), nil
}

func (u user) try(args ...string) error { _, err := u.output(args...); return err }

func (u user) run(args ...string) string {
	u.t.Helper()
	out, err := u.output(args...)
	if err != nil {
		u.t.Fatal(err)
	}
	return out
}

func (u user) apply(manifest string) { u.t.Helper(); u.in(manifest).run("apply", "-f", "-") }

// get is a value of an object, by JSONPath.
func (u user) get(object, path string) string {
	u.t.Helper()
	return u.run(getArgs(object, path)...)
}

// getArgs lets an object be "pods -l app=web" too.
func getArgs(object, path string) []string {
	return append(append([]string{"get"}, strings.Fields(object)...), "-o", "jsonpath="+path)
}

func (u user) until(what string, f func() error) {
	u.t.Helper()
	cluster.Eventually(u.t, what, f)
}

// has waits until an object's value is as wanted.
func (u user) has(want, object, path string) {
	u.t.Helper()
	u.until(fmt.Sprintf("%s of %s is %q", path, object, want), func() error {
		got, err := u.output(getArgs(object, path)...)
		if err == nil && got != want {
			err = fmt.Errorf("it is %q", got)
		}
		return err
	})
}

// says waits until a command in a pod prints a text.
func (u user) says(want, pod string, command ...string) string {
	u.t.Helper()
	var got string
	u.until(fmt.Sprintf("%s in %s says %q", strings.Join(command, " "), pod, want), func() (err error) {
		got, err = u.output(append([]string{"exec", pod, "--"}, command...)...)
		if err == nil && !strings.Contains(got, want) {
			err = fmt.Errorf("it says %q", got)
		}
		return err
	})
	return got
}

// ready waits for pods of a selector, or one by name.
func (u user) ready(pods ...string) {
	u.t.Helper()
	u.run(append([]string{"wait", "--for=condition=Ready", "--timeout=" + limit.String()}, pods...)...)
}

func (u user) rolledOut(what string) {
	u.t.Helper()
	u.run("rollout", "status", what, "--timeout="+limit.String())
}

// client is a pod to call others from.
func (u user) client(name string, more ...string) {
	u.t.Helper()
	u.run(append([]string{"run", name, "--image=" + busybox, "--restart=Never"}, append(more, "--", "sleep", "100000")...)...)
	u.ready("pod/" + name)
}

// event is a watch's next.
func (u user) event(w watch.Interface) watch.Event {
	u.t.Helper()
	select {
	case e, open := <-w.ResultChan():
		if !open {
			u.t.Fatal("the watch ended")
		}
		return e
	case <-time.After(limit):
		u.t.Fatalf("no event of the watch for %s", limit)
	}
	return watch.Event{}
}

var errNotYet = errors.New("not yet")
