package nodeproxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What goes to the kubelet has a path that a server takes, and the kubelet's
// names of the streams.
func TestStreamRequest(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}
	for subresource, want := range map[string]string{
		"exec": "/exec/ns/p/c?command=a+b&error=1&output=1", "attach": "/attach/ns/p/c?command=a+b&error=1&output=1", "portforward": "/portForward/ns/p?command=a+b&stderr=true&stdout=true",
	} {
		q := url.Values{"command": {"a b"}, "stdout": {"true"}, "stderr": {"true"}}
		path, _, err := (&Proxy{}).streamTarget(pod, subresource, q)
		if err != nil {
			t.Fatal(err)
		}
		u := kubeletBase("192.0.2.1", 10250).JoinPath(path...)
		u.RawQuery = q.Encode()
		if have := u.RequestURI(); have != want {
			t.Errorf("%s: have %s, want %s", subresource, have, want)
		}
	}
}

func TestRefusedLogs(t *testing.T) {
	for code, check := range map[int]func(error) bool{400: apierrors.IsBadRequest, 404: apierrors.IsNotFound, 500: apierrors.IsInternalError} {
		const text = `container "c" in pod "p" is waiting to start: ContainerCreating`
		err := copyLog(httptest.NewRecorder(), &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(text))})
		if !check(err) || !strings.Contains(err.Error(), text) && code != 404 {
			t.Errorf("%d: %v", code, err)
		}
	}
}
