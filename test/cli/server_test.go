package cli

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// explainEvery explains every kind that discovery offers, whole.
func explainEvery(k kubectl) {
	var wg sync.WaitGroup
	queue := make(chan [2]string) // a resource and its group's version
	for range 2 {
		wg.Go(func() {
			for r := range queue {
				out, errs, code := k.try("explain", r[0], "--api-version="+r[1], "--recursive")
				if code != 0 || !strings.Contains(out, "KIND: ") || !strings.Contains(out, "VERSION: ") || !strings.Contains(out, "metadata\t<") && !strings.Contains(out, "kind\t<") {
					k.t.Errorf("explain %s %s: %s%s", r[0], r[1], out, errs)
				}
			}
		})
	}
	version := regexp.MustCompile(`^(?:\S+/)?v[0-9]\S*$`)
	for line := range strings.Lines(k.run("api-resources", "--no-headers")) {
		f := strings.Fields(line)
		queue <- [2]string{f[0], f[slices.IndexFunc(f, version.MatchString)]}
	}
	close(queue)
	wg.Wait()
	k.contains(k.run("explain", "pod.spec.containers.resources.limits"), "FIELD: limits <map[string]Quantity>", "maximum amount of compute resources allowed")
	k.contains(k.run("explain", "hpa", "--api-version=autoscaling/v1"), "VERSION:    v1", "GROUP:      autoscaling")
	k.contains(k.run("explain", "ingress", "--output=plaintext-openapiv2"), "VERSION:  networking.k8s.io/v1")
	k.contains(k.fails("explain", "pod.nonsense"), `field "nonsense" does not exist`)
}

func discovery(k kubectl) {
	k.contains(k.run("api-versions"), "v1\n", "apps/v1\n", "rbac.authorization.k8s.io/v1\n", "resource.k8s.io/v1\n", "autoscaling/v1\n", "autoscaling/v2\n")
	text := k.run("api-resources", "-o", "wide")
	for _, line := range []string{
		"pods po v1 true Pod create,delete,deletecollection,get,list,patch,update,watch all",
		"namespaces ns v1 false Namespace create,delete,get,list,patch,update,watch",
		"horizontalpodautoscalers hpa autoscaling/v2 true HorizontalPodAutoscaler create,delete,deletecollection,get,list,patch,update,watch all",
		"tokenreviews authentication.k8s.io/v1 false TokenReview create",
	} {
		k.contains(words(text), line)
	}
	k.contains(k.run("api-resources", "--api-group=apps", "--namespaced", "-o", "name"), "controllerrevisions.apps\ndaemonsets.apps\ndeployments.apps\nreplicasets.apps\nstatefulsets.apps")
	k.contains(k.run("version"), "Server Version: v1.37.")
	k.contains(k.run("cluster-info"), "Kubernetes control plane", k.server.URL)
	k.contains(k.run("get", "--raw", "/openapi/v2"), `"swagger":"2.0"`)
	k.contains(k.run("get", "--raw", "/openapi/v3"), `"apis/apps/v1"`)
}

func auth(k kubectl) {
	k.run("create", "role", "reader", "--verb=get,list", "--resource=pods")
	k.run("create", "rolebinding", "readers", "--role=reader", "--user=jane", "--group=devs")
	k.expect("yes", "auth", "can-i", "get", "pods", "--as=jane")
	k.expect("yes", "auth", "can-i", "get", "pods", "--as=x", "--as-group=devs")
	out, _, code := k.try("auth", "can-i", "delete", "pods", "--as=jane")
	if strings.TrimSpace(out) != "no" || code != 1 {
		k.t.Errorf("can-i delete: %q, %d", out, code)
	}
	k.expect("yes", "auth", "can-i", "*", "*")
	k.contains(words(k.run("auth", "can-i", "--list", "--as=jane")), "pods [] [] [get list]")
	k.contains(words(k.run("auth", "whoami")), "Username kubernetes-admin", "[system:masters system:authenticated]")
	k.contains(words(k.run("auth", "whoami", "--as=jane", "--as-group=devs")), "Username jane", "[devs system:authenticated]")
	k.contains(k.fails("get", "secrets", "--as=jane"), `secrets is forbidden: User "jane" cannot list resource "secrets" in API group "" in the namespace "auth"`)
	k.run("get", "pods", "--as=jane")
	const role = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: auth}
rules: [{apiGroups: [""], resources: [services], verbs: [get]}]
`
	k.contains(k.in(role).run("auth", "reconcile", "-f", "-"), "role.rbac.authorization.k8s.io/reader reconciled")
	k.expect("yes", "auth", "can-i", "get", "services", "--as=jane")
	k.expect("yes", "auth", "can-i", "get", "pods", "--as=jane")
	k.in(role).run("auth", "reconcile", "-f", "-", "--remove-extra-permissions")
	if out, _, _ := k.try("auth", "can-i", "get", "pods", "--as=jane"); strings.TrimSpace(out) != "no" {
		k.t.Errorf("reconcile left permissions: %s", out)
	}
}

func token(k kubectl) {
	k.run("create", "serviceaccount", "robot")
	k.run("create", "role", "reader", "--verb=get,list", "--resource=pods")
	k.run("create", "rolebinding", "robots", "--role=reader", "--serviceaccount=token:robot")
	t := strings.TrimSpace(k.run("create", "token", "robot", "--duration=1h"))
	if strings.Count(t, ".") != 2 {
		k.t.Fatalf("token %q", t)
	}
	own := k.asToken(t)
	k.contains(words(own.run("auth", "whoami")), "Username system:serviceaccount:token:robot", "system:serviceaccounts:token")
	own.run("get", "pods")
	k.contains(own.fails("get", "secrets"), `User "system:serviceaccount:token:robot" cannot list resource "secrets"`)
	k.contains(k.asToken(t+"x").fails("get", "pods"), "You must be logged in to the server")
	other := strings.TrimSpace(k.run("create", "token", "robot", "--audience=elsewhere"))
	k.contains(k.asToken(other).fails("get", "pods"), "You must be logged in to the server")
	k.run("run", "p", "--image=busybox", "--overrides", `{"spec":{"serviceAccountName":"robot"}}`)
	bound := strings.TrimSpace(k.run("create", "token", "robot", "--bound-object-kind=Pod", "--bound-object-name=p"))
	k.contains(words(k.asToken(bound).run("auth", "whoami")), "authentication.kubernetes.io/pod-name [p]")
	k.contains(k.fails("create", "token", "none"), `serviceaccounts "none" not found`)
	k.run("delete", "serviceaccount", "robot")
	// Servers remember a token they have seen for some seconds.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		if _, errs, code := own.try("get", "pods"); code != 0 {
			k.contains(errs, "You must be logged in to the server")
			break
		}
		if time.Now().After(deadline) {
			k.t.Fatal("the token of a deleted account is good for ever")
		}
	}
}

// asToken is kubectl without the administrator's certificate.
func (k kubectl) asToken(token string) kubectl {
	path := filepath.Join(k.t.TempDir(), "kubeconfig")
	k.env = append(k.env, "KUBECONFIG="+path)
	k.run("config", "set-cluster", "c", "--server="+k.server.URL, "--certificate-authority="+filepath.Join(k.server.Dir, "pki", "ca.crt"), "--embed-certs")
	k.run("config", "set-credentials", "u", "--token="+token)
	k.run("config", "set-context", "x", "--cluster=c", "--user=u")
	k.run("config", "use-context", "x")
	return k
}

func config(k kubectl) {
	k.contains(k.run("config", "view"), "server: "+k.server.URL, "certificate-authority-data: DATA+OMITTED")
	k.contains(k.run("config", "get-contexts"), "*")
	own := k.asToken("t")
	own.expect("x", "config", "current-context")
	own.run("config", "set-context", "--current", "--namespace=config")
	own.contains(own.run("config", "view", "--raw"), "token: t", "namespace: config")
	own.run("config", "rename-context", "x", "y")
	own.run("config", "delete-context", "y")
}

func certificate(k kubectl) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		k.t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane", Organization: []string{"devs"}}}, key)
	if err != nil {
		k.t.Fatal(err)
	}
	request := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	for _, name := range []string{"good", "bad"} {
		k.in(`
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: `+name+`}
spec:
  request: `+request+`
  signerName: kubernetes.io/kube-apiserver-client
  expirationSeconds: 86400
  usages: [client auth]
`).run("create", "-f", "-")
	}
	k.contains(words(k.run("get", "csr", "good")), "kubernetes.io/kube-apiserver-client kubernetes-admin 24h Pending")
	k.contains(k.run("certificate", "approve", "good"), "certificatesigningrequest.certificates.k8s.io/good approved")
	k.contains(k.run("certificate", "deny", "bad"), "certificatesigningrequest.certificates.k8s.io/bad denied")
	k.contains(words(k.run("get", "csr")), "24h Approved", "24h Denied")
	k.contains(words(k.run("describe", "csr", "good")), "Common Name: jane", "Status: Approved")
}

func events(k kubectl) {
	k.run("run", "p", "--image=busybox")
	uid := k.field("pod/p", "{.metadata.uid}")
	k.in(`
apiVersion: v1
kind: Event
metadata: {name: p.1, namespace: events}
involvedObject: {apiVersion: v1, kind: Pod, name: p, namespace: events, uid: `+uid+`}
reason: Scheduled
message: it found a place
type: Normal
firstTimestamp: "2026-01-01T00:00:00Z"
lastTimestamp: "2026-01-01T00:00:00Z"
count: 3
source: {component: tester}
`).run("create", "-f", "-")
	k.contains(k.run("events"), "Scheduled", "it found a place")
	k.contains(k.run("events", "--for=pod/p", "--types=Normal"), "it found a place")
	k.contains(k.run("get", "events", "--field-selector=involvedObject.name=p,reason=Scheduled", "--sort-by=.lastTimestamp"), "pod/p")
	k.contains(k.run("get", "events.events.k8s.io", "p.1", "-o", "yaml"), "deprecatedCount: 3", "note: it found a place")
	k.contains(k.run("describe", "pod", "p"), "it found a place")
}

func raw(k kubectl) {
	k.expect("ok", "get", "--raw", "/readyz")
	k.contains(k.run("get", "--raw", "/livez?verbose"), "[+]ping ok")
	k.contains(k.run("get", "--raw", "/version"), `"major": "1"`, `"minor": "37"`)
	k.contains(k.run("get", "--raw", "/metrics"), "# TYPE ")
	k.contains(k.run("get", "--raw", "/metrics/slis"), `kubernetes_healthcheck{name="etcd",type="livez"} 1`)
	k.contains(k.run("get", "--raw", "/flagz"), "kube-apiserver flagz", "\nbind-address=127.0.0.1\n", "\nmax-requests-inflight=400\n")
	k.contains(k.run("get", "--raw", "/statusz"), "kube-apiserver statusz", "\nEmulation version: 1.37\n")
	k.contains(k.in(settings).run("create", "--raw", "/api/v1/namespaces/raw/configmaps?fieldValidation=Strict", "-f", k.file("c.json", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"r"}}`)), `"name":"r"`)
	k.contains(k.run("get", "--raw", "/api/v1/namespaces/raw/configmaps?limit=1"), `"kind":"ConfigMapList"`)
	k.contains(k.fails("get", "--raw", "/nonsense"), "NotFound")
}

func proxy(k kubectl) {
	c := k.command("proxy", "--port=0")
	out, err := c.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		k.t.Fatal(err)
	}
	defer func() {
		_ = c.Process.Kill() // it may have ended
		_ = c.Wait()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "Starting to serve on ")
	if err != nil || !ok {
		k.t.Fatalf("%q, %v, %s", line, err, errs.String())
	}
	resp, err := http.Get("http://" + address + "/api/v1/namespaces/proxy")
	if err != nil {
		k.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		k.t.Errorf("%d %s %v", resp.StatusCode, body, err)
	}
}
