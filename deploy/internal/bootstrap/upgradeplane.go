package bootstrap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
	"xebec.dev/deploy/internal/layout"
)

// changes are the components whose manifest is to be replaced, in order.
func changes(order []string, old, next map[string][]byte) []string {
	var out []string
	for _, name := range order {
		if text, ok := next[name]; ok && !bytes.Equal(old[name], text) {
			out = append(out, name)
		}
	}
	return out
}

// controlPlane replaces the manifests one after the other, and puts all of
// them back when a component does not come up.
func (u *Upgrade) controlPlane(ctx context.Context) error {
	if !u.plane {
		return nil
	}
	limit := u.Config.Timeouts.UpgradeManifests.Duration
	u.say("upgrade/control-plane", "Upgrading your Static Pod-hosted control plane to version %q (timeout: %s)...", u.Cluster.KubernetesVersion, limit)
	next, err := u.render()
	if err != nil {
		return err
	}
	old := map[string][]byte{}
	for name := range next {
		if old[name], err = os.ReadFile(u.manifest(name)); missing(err) != nil {
			return err
		}
	}
	todo := changes(u.order(), old, next)
	for _, name := range u.order() {
		if !slices.Contains(todo, name) {
			u.say("upgrade/staticpods", "Current and new manifests of %s are equal, skipping upgrade", name)
		}
	}
	if u.DryRun {
		u.say("dryrun", "Would replace these manifests: %v", todo)
		return nil
	}
	backup := filepath.Join(layout.Kubernetes, "tmp", "kubeadm-backup-manifests-"+u.stamp)
	for i, name := range todo {
		if err := u.component(ctx, name, old[name], next[name], backup); err != nil {
			return u.rollBack(ctx, todo[:i+1], old, err)
		}
	}
	if err := u.renew(administrator); err != nil {
		return err
	}
	u.say("upgrade/control-plane", "The control plane instance for this node was successfully upgraded!")
	return nil
}

func (u *Upgrade) manifest(name string) string {
	return u.path(filepath.Join(layout.Manifests, name+".yaml"))
}

func (u *Upgrade) renew(component string) error {
	if u.Options.CertificateRenewal != nil && !*u.Options.CertificateRenewal {
		return nil
	}
	return (&Certs{Node: u.Node, Cluster: u.Cluster}).RenewOf(component, time.Now())
}

// component replaces one manifest and waits until its pod is the new one.
func (u *Upgrade) component(ctx context.Context, name string, old, next []byte, backup string) error {
	u.say("upgrade/staticpods", "Preparing for %q upgrade", name)
	if name == "etcd" {
		if err := u.saveEtcd(ctx); err != nil {
			return err
		}
	}
	var before *corev1.Pod
	err := u.ask(ctx, "pod of "+name, func(ctx context.Context) (err error) {
		before, err = u.mirror(ctx, name)
		return err
	})
	if err != nil {
		return err
	}
	if err := u.renew(name); err != nil {
		return err
	}
	saved := filepath.Join(backup, name+".yaml")
	u.say("upgrade/staticpods", "Moving new manifest to %q and backing up old manifest to %q", u.manifest(name), u.path(saved))
	if err := u.writeFile(saved, old, 0o600); err != nil {
		return err
	}
	if err := u.writeFile(filepath.Join(layout.Manifests, name+".yaml"), next, 0o600); err != nil {
		return err
	}
	limit := u.Config.Timeouts.UpgradeManifests.Duration
	u.say("upgrade/staticpods", "Waiting for the kubelet to restart the component")
	u.say("upgrade/staticpods", "This can take up to %s", limit)
	was := before.Annotations[corev1.MirrorPodAnnotationKey]
	err = retry(ctx, limit, "the new "+name, func(ctx context.Context) error {
		now, err := u.mirror(ctx, name)
		if err != nil {
			return err
		}
		if now.Annotations[corev1.MirrorPodAnnotationKey] == was {
			return fmt.Errorf("static Pod hash for component %s on Node %s did not change", name, u.Config.NodeRegistration.Name)
		}
		return ready(now)
	})
	if err == nil {
		err = u.waitControlPlane(ctx, limit, u.Cluster, u.Config.LocalAPIEndpoint)
	}
	if err == nil {
		u.say("upgrade/staticpods", "Component %q upgraded successfully!", name)
	}
	return err
}

// ask repeats a question to the API server: behind it etcd, or itself, may
// have been replaced a moment ago.
func (u *Upgrade) ask(ctx context.Context, what string, f func(context.Context) error) error {
	return retry(ctx, u.Config.Timeouts.KubernetesAPICall.Duration, what, f)
}

// mirror is the pod that shows a component's static pod to the cluster.
func (u *Upgrade) mirror(ctx context.Context, name string) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return client.Get[*corev1.Pod](ctx, u.api, metav1.NamespaceSystem, name+"-"+u.Config.NodeRegistration.Name)
}

// ready says why a pod is not.
func ready(p *corev1.Pod) error {
	for _, s := range p.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil && w.Reason != "ContainerCreating" {
			return fmt.Errorf("pod %s: %s: %s", p.Name, w.Reason, w.Message)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("pod %s is %s and not ready", p.Name, p.Status.Phase)
}

// rollBack puts the old manifests back, and waits for what they make.
func (u *Upgrade) rollBack(ctx context.Context, names []string, old map[string][]byte, why error) error {
	errs := []error{why}
	for _, name := range slices.Backward(names) {
		u.say("upgrade/staticpods", "Putting back the manifest of %q", name)
		errs = append(errs, u.writeFile(filepath.Join(layout.Manifests, name+".yaml"), old[name], 0o600))
	}
	// The upgrade may have ended because somebody broke it off: the way back is
	// gone nevertheless.
	ctx = context.WithoutCancel(ctx)
	if err := u.waitControlPlane(ctx, u.Config.Timeouts.ControlPlaneComponentHealthCheck.Duration, u.Cluster, u.Config.LocalAPIEndpoint); err != nil {
		errs = append(errs, fmt.Errorf("the control plane did not come back: %w", err))
	}
	return fmt.Errorf("couldn't upgrade control plane. xebecadm has tried to recover everything into the earlier state. Errors faced: %w", errors.Join(errs...))
}

// saveEtcd keeps a snapshot of what is stored, for a way back that manifests
// are not enough for.
func (u *Upgrade) saveEtcd(ctx context.Context) error {
	e, err := newEtcd(u.path(u.Cluster.CertificatesDir))
	if err != nil {
		return err
	}
	dir := u.path(filepath.Join(layout.Kubernetes, "tmp", "kubeadm-backup-etcd-"+u.stamp))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file := filepath.Join(dir, "snapshot.db")
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = e.snapshot(ctx, "https://127.0.0.1:2379", f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("snapshot of etcd: %w", err)
	}
	u.say("upgrade/etcd", "A snapshot of etcd is in %q", file)
	return nil
}

// snapshot writes the whole store.
func (e *etcdAdmin) snapshot(ctx context.Context, endpoint string, to io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/v3/maintenance/snapshot", bytes.NewReader([]byte("{}")))
	if err != nil {
		return err
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	written := 0
	for d := json.NewDecoder(resp.Body); ; {
		var part struct {
			Result struct{ Blob []byte }
			Error  *struct{ Message string }
		}
		err := d.Decode(&part)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if part.Error != nil {
			return errors.New(part.Error.Message)
		}
		n, err := to.Write(part.Result.Blob)
		if written += n; err != nil {
			return err
		}
	}
	if written == 0 {
		return errors.New("it is empty")
	}
	return nil
}
