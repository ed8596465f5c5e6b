package nodeproxy

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/core"
	"xebec.dev/apiserver/internal/registry"
)

// logOptions reads the query of a request for logs.
func logOptions(q url.Values) (*corev1.PodLogOptions, error) {
	o := &corev1.PodLogOptions{Container: q.Get("container")}
	on := func(key string) bool { return truth(q, key) }
	o.Follow, o.Previous, o.Timestamps = on("follow"), on("previous"), on("timestamps")
	o.InsecureSkipTLSVerifyBackend = on("insecureSkipTLSVerifyBackend")
	for key, into := range map[string]**int64{"sinceSeconds": &o.SinceSeconds, "tailLines": &o.TailLines, "limitBytes": &o.LimitBytes} {
		if !q.Has(key) {
			continue
		}
		n, err := strconv.ParseInt(q.Get(key), 10, 64)
		if err != nil {
			return nil, err
		}
		*into = &n
	}
	if v := q.Get("sinceTime"); v != "" {
		t, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return nil, err
		}
		o.SinceTime = &metav1.Time{Time: t}
	}
	if v := q.Get("stream"); v != "" {
		o.Stream = &v
	}
	return o, nil
}

// truth reads a parameter as all of Kubernetes' boolean ones: there, and not
// false. Python's client writes True.
func truth(q url.Values, key string) bool {
	v := q.Get(key)
	return q.Has(key) && v != "0" && !strings.EqualFold(v, "false")
}

// log streams a container's log.
func (p *Proxy) log(w http.ResponseWriter, r *http.Request, t registry.Target) error {
	o, err := logOptions(r.URL.Query())
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	if errs := core.ValidatePodLogOptions(o); len(errs) > 0 {
		return apierrors.NewInvalid(schema.GroupKind{Kind: "PodLogOptions"}, t.Name, errs)
	}
	pod, err := p.pod(r.Context(), t)
	if err != nil {
		return err
	}
	name, err := container(pod, o.Container)
	if err != nil {
		return err
	}
	if pod.Spec.NodeName == "" {
		w.WriteHeader(http.StatusNoContent) // nothing has run, nothing was said
		return nil
	}
	u, err := p.kubeletURL(r.Context(), pod.Spec.NodeName, t.GroupResource())
	if err != nil {
		return err
	}
	u = u.JoinPath("containerLogs", pod.Namespace, pod.Name, name)
	u.RawQuery = logQuery(o).Encode()
	q, err := http.NewRequestWithContext(r.Context(), http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	q.Header.Set("Via", via)
	transport := p.kubelet
	if o.InsecureSkipTLSVerifyBackend {
		transport = p.unverified
	}
	resp, err := transport.RoundTrip(q) // RoundTrip follows no redirect
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	defer resp.Body.Close()
	if asksForSocket(r) && resp.StatusCode < http.StatusBadRequest {
		copyLogTo(w, r, resp.Body)
		return nil
	}
	return copyLog(w, resp)
}

// longestError is how much of a kubelet's error text is passed on, in bytes.
const longestError = 64 << 10

func copyLog(w http.ResponseWriter, resp *http.Response) error {
	if resp.StatusCode >= http.StatusBadRequest {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, longestError)) // what came is shown
		switch resp.StatusCode {
		case http.StatusBadRequest:
			return apierrors.NewBadRequest(string(text)) // why there is no log yet
		case http.StatusInternalServerError:
			return apierrors.NewInternalError(errors.New(string(text)))
		}
		return apierrors.NewGenericServerResponse(resp.StatusCode, "get", schema.GroupResource{Resource: "pods/log"}, "", string(text), 0, true)
	}
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w)
	buf := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return nil // the client is gone
			}
			_ = flush.Flush() // shows at the next write
		}
		if err != nil {
			return nil
		}
	}
}

func logQuery(o *corev1.PodLogOptions) url.Values {
	q := url.Values{}
	for name, on := range map[string]bool{"follow": o.Follow, "previous": o.Previous, "timestamps": o.Timestamps} {
		if on {
			q.Set(name, "true")
		}
	}
	number := func(name string, v *int64) {
		if v != nil {
			q.Set(name, strconv.FormatInt(*v, 10))
		}
	}
	number("sinceSeconds", o.SinceSeconds)
	number("tailLines", o.TailLines)
	number("limitBytes", o.LimitBytes)
	if o.SinceTime != nil {
		q.Set("sinceTime", o.SinceTime.Format(time.RFC3339))
	}
	if o.Stream != nil && *o.Stream != corev1.LogStreamAll {
		q.Set("stream", *o.Stream)
	}
	return q
}
