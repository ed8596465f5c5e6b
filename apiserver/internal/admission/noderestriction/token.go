package noderestriction

import (
	"context"
	"errors"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/request"
)

// token lets a node ask for the tokens of its pods alone, for the audiences
// that those pods name.
func (p *Plugin) token(ctx context.Context, node string, a *admission.Attributes) error {
	if a.Operation != admission.Create || a.Subresource != "token" {
		return nil
	}
	r, ok := a.Object.(*authenticationv1.TokenRequest)
	if !ok {
		return fmt.Errorf("unexpected type %T", a.Object)
	}
	ref := r.Spec.BoundObjectRef
	if ref == nil || ref.APIVersion != "v1" || ref.Kind != "Pod" || ref.Name == "" {
		return errors.New("node requested token not bound to a pod")
	}
	if ref.UID == "" {
		return errors.New("node requested token with a pod binding without a uid")
	}
	o, err := admission.Fetch(ctx, p.reader, p.store, p.pods, a.Namespace, ref.Name)
	if err != nil {
		return err
	}
	pod := o.(*corev1.Pod)
	if pod.UID != ref.UID {
		return apierrors.NewConflict(p.pods.GroupResource(), ref.Name,
			fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID))
	}
	if pod.Spec.NodeName != node {
		return errors.New("node requested token bound to a pod scheduled on a different node")
	}
	return p.audience(ctx, a, r, pod)
}

func (p *Plugin) audience(ctx context.Context, a *admission.Attributes, r *authenticationv1.TokenRequest, pod *corev1.Pod) error {
	if len(r.Spec.Audiences) > 1 {
		return errors.New("node may only request 0 or 1 audiences")
	}
	audience := ""
	if len(r.Spec.Audiences) == 1 {
		audience = r.Spec.Audiences[0]
	}
	named, err := p.named(ctx, pod, audience)
	if named || err != nil {
		return err
	}
	d, _, err := p.authorizer.Authorize(ctx, a.User, &request.Info{
		IsResource: true, Verb: "request-serviceaccounts-token-audience", Prefix: "api", Version: "v1",
		Resource: audience, Namespace: a.Namespace, Name: a.Name,
	})
	if err == nil && d == authz.Allow {
		return nil
	}
	return fmt.Errorf("audience %q not found in pod spec volume, %s is not authorized to request tokens for this audience", audience, a.User.Name)
}

// named reports whether a volume of the pod asks for a token for the audience,
// itself or through its CSI driver.
func (p *Plugin) named(ctx context.Context, pod *corev1.Pod, audience string) (bool, error) {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.Projected != nil {
			for j := range v.Projected.Sources {
				if t := v.Projected.Sources[j].ServiceAccountToken; t != nil && t.Audience == audience {
					return true, nil
				}
			}
		}
		driver, err := p.driver(ctx, pod, v)
		if err != nil {
			return false, err
		}
		if driver != "" && p.driverAsks(ctx, driver, audience) {
			return true, nil
		}
	}
	return false, nil
}

// driver is the CSI driver of a pod's volume, "" if there is none.
func (p *Plugin) driver(ctx context.Context, pod *corev1.Pod, v *corev1.Volume) (string, error) {
	claim := ""
	switch {
	case v.CSI != nil:
		return v.CSI.Driver, nil
	case v.PersistentVolumeClaim != nil:
		claim = v.PersistentVolumeClaim.ClaimName
	case v.Ephemeral != nil:
		claim = pod.Name + "-" + v.Name
	default:
		return "", nil
	}
	o, err := admission.Fetch(ctx, p.reader, p.store, p.claims, pod.Namespace, claim)
	if err != nil {
		return "", err
	}
	volume := o.(*corev1.PersistentVolumeClaim).Spec.VolumeName
	if volume == "" {
		return "", nil
	}
	if o, err = admission.Fetch(ctx, p.reader, p.store, p.volumes, "", volume); err != nil {
		return "", err
	}
	if csi := o.(*corev1.PersistentVolume).Spec.CSI; csi != nil {
		return csi.Driver, nil
	}
	return "", nil
}

func (p *Plugin) driverAsks(ctx context.Context, driver, audience string) bool {
	o, err := admission.Fetch(ctx, p.reader, p.store, p.drivers, "", driver)
	if err != nil {
		return false
	}
	for _, t := range o.(*storagev1.CSIDriver).Spec.TokenRequests {
		if t.Audience == audience {
			return true
		}
	}
	return false
}
