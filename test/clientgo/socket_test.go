package clientgo

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"xebec.dev/test/apiservertest"
)

// TestWatchOverWebSocket watches as a page in a browser does, which can set no
// header: its token comes as a subprotocol. Each event is a message.
func TestWatchOverWebSocket(t *testing.T) {
	s := apiservertest.Start(t)
	config := configOf(t, s)
	c := kubernetes.NewForConfigOrDie(config)
	ctx := context.Background()
	token, err := tokenOfViewer(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if _, err := c.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"seen": "yes"}}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	const query = "?watch=1&labelSelector=seen%3Dyes&timeoutSeconds="
	dial := func(query, accept string, protocols ...string) *websocket.Conn {
		t.Helper()
		ws, err := websocket.NewConfig("wss"+config.Host[len("https"):]+"/api/v1/namespaces/default/configmaps"+query, "https://a.page")
		if err != nil {
			t.Fatal(err)
		}
		ws.TlsConfig = &tls.Config{RootCAs: s.TLS(t).RootCAs}
		ws.Protocol = protocols
		if accept != "" {
			ws.Header.Set("Accept", accept)
		}
		soon, cancel := context.WithTimeout(ctx, time.Minute) // an answer that is no upgrade is read to its end
		defer cancel()
		conn, err := ws.DialContext(soon)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	bearer := "base64url.bearer.authorization.k8s.io." + base64.RawURLEncoding.EncodeToString([]byte(token))

	conn := dial(query+"600", "", bearer, "base64.binary.k8s.io")
	if p := conn.Config().Protocol; len(p) != 1 || p[0] != "base64.binary.k8s.io" {
		t.Errorf("the server chose %q", p)
	}
	next := func() (kind, name string) {
		t.Helper()
		var text string
		if err := websocket.Message.Receive(conn, &text); err != nil {
			t.Fatal(err)
		}
		var e metav1.WatchEvent
		var o metav1.PartialObjectMetadata
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatalf("%v: not one event: %s", err, text)
		}
		if err := json.Unmarshal(e.Object.Raw, &o); err != nil {
			t.Fatal(err)
		}
		return e.Type, o.Name
	}
	for _, want := range []string{"a", "b"} { // both are there at once
		if kind, name := next(); kind != "ADDED" || name != want {
			t.Errorf("%s %s, want %s", kind, name, want)
		}
	}
	if err := c.CoreV1().ConfigMaps("default").Delete(ctx, "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if kind, name := next(); kind != "DELETED" || name != "a" {
		t.Errorf("%s %s", kind, name)
	}

	binary := dial(query+"1", "application/vnd.kubernetes.protobuf", bearer, "v")
	var raw []byte
	if err := websocket.Message.Receive(binary, &raw); err != nil {
		t.Fatal(err)
	}
	var e metav1.WatchEvent
	if err := e.Unmarshal(raw); err != nil || e.Type != "ADDED" {
		t.Errorf("protobuf: %v, %q", err, raw)
	}
	if err := websocket.Message.Receive(binary, &raw); err == nil {
		t.Errorf("after its time: %q", raw)
	}
}

func tokenOfViewer(ctx context.Context, c kubernetes.Interface) (string, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "viewer"}}
	if _, err := c.CoreV1().ServiceAccounts("default").Create(ctx, account, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "viewer"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: "viewer"}},
	}
	if _, err := c.RbacV1().RoleBindings("default").Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	r, err := c.CoreV1().ServiceAccounts("default").CreateToken(ctx, "viewer", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return r.Status.Token, nil
}
