package chaos

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/test/apiservertest"
)

// TestDeletedByAnother: a pod that has no time left is told to go before it
// goes. Who sees that, as its kubelet does, may take it away first; the one who
// asked is not told that there was no such pod.
func TestDeletedByAnother(t *testing.T) {
	s := apiservertest.Start(t)
	prepare(t, s)
	client := s.Client(t)
	do := func(method, path, body string) (int, string) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/api/v1/namespaces/"+namespace+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	// There is no controller to make the account.
	if code, text := do(http.MethodPost, "/serviceaccounts", `{"metadata":{"name":"default"}}`); code != http.StatusCreated {
		t.Fatalf("%d: %s", code, text)
	}
	w, err := s.Client(t).Get(s.URL + "/api/v1/namespaces/" + namespace + "/pods?watch=1")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	const many = 100
	first := make(chan int, 1)
	go func() {
		first <- quicker(w.Body, func(name string) bool {
			code, _ := do(http.MethodDelete, "/pods/"+name, `{"gracePeriodSeconds":0}`)
			return code == http.StatusOK
		}, many)
	}()
	for i := range many {
		name := fmt.Sprintf("p%d", i)
		if code, text := do(http.MethodPost, "/pods", `{"metadata":{"name":"`+name+`"},"spec":{"containers":[{"name":"c","image":"c"}]}}`); code != http.StatusCreated {
			t.Fatalf("%d: %s", code, text)
		}
		if code, text := do(http.MethodDelete, "/pods/"+name, ""); code != http.StatusOK {
			t.Errorf("the deletion of %s: %d: %s", name, code, text)
		}
	}
	t.Logf("of %d pods the other took %d away", many, <-first)
}

// quicker takes away each pod that is told to go, until all are gone, and says
// how many it was given.
func quicker(events io.Reader, take func(name string) bool, many int) (taken int) {
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 1<<20)
	for gone := 0; gone < many && lines.Scan(); {
		var e struct {
			Type   string
			Object corev1.Pod
		}
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			return taken
		}
		switch {
		case e.Type == "DELETED":
			gone++
		case e.Object.DeletionTimestamp != (*metav1.Time)(nil) && take(e.Object.Name):
			taken++
		}
	}
	return taken
}
