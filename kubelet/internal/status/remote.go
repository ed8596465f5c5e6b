package status

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/client"
)

// Remote is the API server, by a component's connection and its batch.
type Remote struct {
	Client *client.Client
	Batch  *client.Batch
	// Find is the API's pod as the watch has it.
	Find func(pod *corev1.Pod) *corev1.Pod
}

// Pod implements API.
func (r *Remote) Pod(pod *corev1.Pod) *corev1.Pod { return r.Find(pod) }

// Fresh implements API.
func (r *Remote) Fresh(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	return client.Get[*corev1.Pod](ctx, r.Client, namespace, name)
}

// Update implements API.
func (r *Remote) Update(ctx context.Context, pod *corev1.Pod, done func(revision string, err error)) error {
	w, err := client.UpdateWrite(r.Client, pod, client.WriteOptions{Subresource: "status", OmitObject: true})
	if err != nil {
		return err
	}
	return r.Batch.Submit(ctx, w, func(res client.Result) {
		if res.Err != nil {
			done("", res.Err)
			return
		}
		written, err := client.Written[*corev1.Pod](w, res.Response)
		if err != nil {
			done("", nil) // it was written; only its revision is not known
			return
		}
		done(written.ResourceVersion, nil)
	})
}

// Delete implements API.
func (r *Remote) Delete(ctx context.Context, pod *corev1.Pod, done func(error)) error {
	now := int64(0)
	w, err := client.DeleteWrite[*corev1.Pod](r.Client, pod.Namespace, pod.Name, client.DeleteOptions{GracePeriod: &now, UID: pod.UID})
	if err != nil {
		return err
	}
	return r.Batch.Submit(ctx, w, func(res client.Result) { done(res.Err) })
}

// None is no API server at all: statuses are kept and written nowhere.
type None struct{}

// Pod implements API.
func (None) Pod(*corev1.Pod) *corev1.Pod { return nil }

// Fresh implements API.
func (None) Fresh(context.Context, string, string) (*corev1.Pod, error) { return nil, context.Canceled }

// Update implements API.
func (None) Update(context.Context, *corev1.Pod, func(string, error)) error { return nil }

// Delete implements API.
func (None) Delete(context.Context, *corev1.Pod, func(error)) error { return nil }
