package controllers

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// quotaCounts: use follows what is there, also what custom resources and other
// objects there are.
func quotaCounts(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, "", "create", "configmap", "before")
	c.kubectl(t, ns, `{"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"q"},"spec":{"hard":{"pods":"3","requests.cpu":"1","configmaps":"10","count/deployments.apps":"2","services":"1"}}}`, "apply", "-f", "-")
	used := func(what string, want map[corev1.ResourceName]string) {
		t.Helper()
		eventually(t, what, func() error {
			q, err := c.CoreV1().ResourceQuotas(ns).Get(t.Context(), "q", metav1.GetOptions{})
			for name, n := range want {
				if got := q.Status.Used[name]; err == nil && got.String() != n {
					err = fmt.Errorf("%s is %s, want %s", name, got.String(), n)
				}
			}
			return err
		})
	}
	// kube-root-ca.crt is one of the two.
	used("what was there before", map[corev1.ResourceName]string{"configmaps": "2", "pods": "0", "count/deployments.apps": "0", "services": "0", "requests.cpu": "0"})
	c.kubectl(t, ns, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":4,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},
		"spec":{"containers":[{"name":"c","image":"x","resources":{"requests":{"cpu":"100m"}}}]}}}}`, "apply", "-f", "-")
	used("as many pods as may be", map[corev1.ResourceName]string{"pods": "3", "requests.cpu": "300m", "count/deployments.apps": "1"})
	c.count(t, ns, "app=web", 3)
	c.kubectl(t, ns, "", "delete", "deployment/web", "--cascade=foreground")
	used("all is given back", map[corev1.ResourceName]string{"pods": "0", "requests.cpu": "0", "count/deployments.apps": "0"})
	c.kubectl(t, ns, "", "delete", "configmap/before")
	used("so is a map", map[corev1.ResourceName]string{"configmaps": "1"})
	// A pod that has ended takes none of the room for pods.
	c.kubectl(t, ns, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"ends","annotations":{"test/exit":"0"}},"spec":{"containers":[{"name":"c","image":"x","resources":{"requests":{"cpu":"100m"}}}]}}`, "apply", "-f", "-")
	c.kubectl(t, ns, "", "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/ends", "--timeout=60s")
	used("a pod that has ended", map[corev1.ResourceName]string{"pods": "0", "requests.cpu": "0"})
}

// finishedJob: a job is gone some time after it has finished.
func finishedJob(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, job("0", `"ttlSecondsAfterFinished":1,`), "apply", "-f", "-")
	c.kubectl(t, ns, "", "wait", "--for=delete", "job/job", "--timeout=60s")
	c.count(t, ns, "job-name=job", 0)
}

const bootstrapToken = `{"apiVersion":"v1","kind":"Secret","type":"bootstrap.kubernetes.io/token","metadata":{"name":"bootstrap-token-%s","namespace":"kube-system"},
	"stringData":{"token-id":%q,"token-secret":"0123456789abcdef","usage-bootstrap-signing":"true","expiration":%q}}`

// TestHousekeeping: what a manager finds when it starts, and controllers that
// are off by default.
func TestHousekeeping(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	if _, err := c.CoreV1().ConfigMaps("kube-public").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cluster-info"}, Data: map[string]string{"kubeconfig": "the cluster"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.kubectl(t, "kube-system", fmt.Sprintf(bootstrapToken, "abcdef", "abcdef", time.Now().Add(time.Hour).Format(time.RFC3339)), "apply", "-f", "-")
	c.kubectl(t, "kube-system", fmt.Sprintf(bootstrapToken, "oldold", "oldold", time.Now().Add(-time.Hour).Format(time.RFC3339)), "apply", "-f", "-")
	c.manage("--controllers=*,bootstrapsigner,tokencleaner", "--terminated-pod-gc-threshold=1")
	eventually(t, "the signature", func() error {
		m, err := c.CoreV1().ConfigMaps("kube-public").Get(t.Context(), "cluster-info", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if _, ok := m.Data["jws-kubeconfig-oldold"]; ok {
			return errors.New("an expired token signs")
		}
		parts := strings.Split(m.Data["jws-kubeconfig-abcdef"], ".")
		if len(parts) != 3 || parts[1] != "" {
			return fmt.Errorf("signature %q", m.Data["jws-kubeconfig-abcdef"])
		}
		mac := hmac.New(sha256.New, []byte("0123456789abcdef"))
		mac.Write([]byte(parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte("the cluster"))))
		if base64.RawURLEncoding.EncodeToString(mac.Sum(nil)) != parts[2] {
			return errors.New("it is not made with the token")
		}
		return nil
	})
	eventually(t, "the expired token is gone", func() error {
		_, err := c.CoreV1().Secrets("kube-system").Get(t.Context(), "bootstrap-token-oldold", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("error %w", err)
	})
	// Without its token the signature goes.
	c.kubectl(t, "kube-system", "", "delete", "secret/bootstrap-token-abcdef")
	eventually(t, "no signature", func() error {
		m, err := c.CoreV1().ConfigMaps("kube-public").Get(t.Context(), "cluster-info", metav1.GetOptions{})
		if err == nil && len(m.Data) != 1 {
			err = fmt.Errorf("data %v", m.Data)
		}
		return err
	})
}

// TestPodCollection: what the collector finds when it starts is gone.
func TestPodCollection(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.kubectl(t, "default", "", "create", "serviceaccount", "default") // the manager is not there to do it
	for i := range 4 {
		name := fmt.Sprintf("ended-%d", i)
		p, err := c.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"a": "b"}},
			Spec: corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "c", Image: "x"}}, AutomountServiceAccountToken: new(bool)}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p.Status.Phase = corev1.PodSucceeded
		if _, err := c.CoreV1().Pods("default").UpdateStatus(t.Context(), p, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	(&driver{c: c}).addNode(t, "n", nil)
	c.manage("--terminated-pod-gc-threshold=1")
	c.count(t, "default", "a=b", 1)
}
