package serviceaccount

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
)

const (
	// defaultSeconds is how long a token lives when the request does not say.
	defaultSeconds = 3600
	minSeconds     = 600
	// warnSeconds is what kubelets ask for on behalf of pods whose client may
	// be too old to read its token again.
	warnSeconds = 3607
	// extendedSeconds is how long such a token lives instead.
	extendedSeconds = 365 * 24 * 3600
)

// Requests answers TokenRequests.
type Requests struct {
	Issuer *Issuer
	// Own are the API server's audiences, the default of a request's.
	Own []string
	// MaxSeconds, when not 0, shortens longer requests.
	MaxSeconds int64
	// Extend gives tokens of old pods a year, with a warning, or MaxExtended
	// seconds where that is less and not 0.
	Extend      bool
	MaxExtended int64
	Deps        Deps
	// Warn, when set, adds a warning to the answer.
	Warn func(ctx context.Context, text string)
	// Issued, when set, is told the id of each token, for audit.
	Issued func(ctx context.Context, credentialID string)
}

var tokenRequestKind = schema.GroupKind{Group: authenticationv1.GroupName, Kind: "TokenRequest"}

// Request answers a create of serviceaccounts/NAME/token.
func (r *Requests) Request(ctx context.Context, namespace, name string, body *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error) {
	if body.Name != "" && body.Name != name {
		return nil, apierrors.NewInvalid(tokenRequestKind, name, field.ErrorList{
			field.Invalid(field.NewPath("metadata", "name"), body.Name, "must match the service account name if specified"),
		})
	}
	o := newObjects(r.Deps.Reader, r.Deps.Fresh, r.Deps.Scheme)
	obj, err := o.fresh(ctx, o.accounts, namespace, name)
	if err != nil {
		return nil, err
	}
	account := obj.(*corev1.ServiceAccount)
	answer := body.DeepCopy()
	answer.Name, answer.Namespace = name, namespace
	if len(answer.Spec.Audiences) == 0 {
		answer.Spec.Audiences = r.Own
	}
	if answer.Spec.ExpirationSeconds == nil {
		seconds := int64(defaultSeconds)
		answer.Spec.ExpirationSeconds = &seconds
	}
	if errs := validateSpec(&answer.Spec); len(errs) > 0 {
		return nil, apierrors.NewInvalid(tokenRequestKind, "", errs)
	}
	now := r.Deps.now()()
	answer.CreationTimestamp = metav1.NewTime(now)
	g := &Grant{
		Namespace: namespace, ServiceAccount: Ref{account.Name, string(account.UID)},
		Audiences: answer.Spec.Audiences, Now: now,
	}
	if ref := answer.Spec.BoundObjectRef; ref != nil {
		if err := bind(ctx, &o, g, ref); err != nil {
			return nil, err
		}
	}
	r.lifetime(ctx, g, &answer.Spec)
	token, id, err := r.Issuer.Sign(ctx, g)
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("failed to generate token: %w", err))
	}
	if r.Issued != nil {
		r.Issued(ctx, "JTI="+id)
	}
	// The client is told the time it asked for, also when the token is good
	// for longer: it should renew it as if it were not.
	answer.Status = authenticationv1.TokenRequestStatus{
		Token:               token,
		ExpirationTimestamp: metav1.NewTime(now.Add(time.Duration(*answer.Spec.ExpirationSeconds) * time.Second)),
	}
	return answer, nil
}

func validateSpec(s *authenticationv1.TokenRequestSpec) field.ErrorList {
	path, seconds := field.NewPath("spec", "expirationSeconds"), *s.ExpirationSeconds
	switch {
	case seconds < minSeconds:
		return field.ErrorList{field.Invalid(path, seconds, "may not specify a duration less than 10 minutes")}
	case seconds > 1<<32:
		return field.ErrorList{field.Invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")}
	}
	return nil
}

// lifetime sets when the token expires and when it should have been renewed.
func (r *Requests) lifetime(ctx context.Context, g *Grant, s *authenticationv1.TokenRequestSpec) {
	if r.MaxSeconds > 0 && *s.ExpirationSeconds > r.MaxSeconds {
		if r.Warn != nil {
			r.Warn(ctx, fmt.Sprintf("requested expiration of %d seconds shortened to %d seconds", *s.ExpirationSeconds, r.MaxSeconds))
		}
		seconds := r.MaxSeconds
		s.ExpirationSeconds = &seconds
	}
	asked := time.Duration(*s.ExpirationSeconds) * time.Second
	g.Expires = g.Now.Add(asked)
	if r.Extend && g.Pod != nil && *s.ExpirationSeconds == warnSeconds && sameSet(s.Audiences, r.Own) {
		g.WarnAfter = g.Expires
		seconds := int64(extendedSeconds)
		if r.MaxExtended > 0 {
			seconds = min(seconds, r.MaxExtended)
		}
		g.Expires = g.Now.Add(time.Duration(seconds) * time.Second)
	}
}

func sameSet(a, b []string) bool {
	for _, x := range a {
		if !contains(b, x) {
			return false
		}
	}
	return true
}

// bind finds the object that the token is to be bound to.
func bind(ctx context.Context, o *objects, g *Grant, ref *authenticationv1.BoundObjectReference) error {
	gvk := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)
	if gvk.Group != "" || gvk.Version != "v1" && gvk.Version != "" {
		return badKind(gvk)
	}
	switch gvk.Kind {
	case "Pod":
		return bindPod(ctx, o, g, ref)
	case "Node":
		node, err := boundObject(ctx, o, o.nodes, "", ref)
		if err != nil {
			return err
		}
		g.Node = refTo(node)
		return nil
	case "Secret":
		secret, err := boundObject(ctx, o, o.secrets, g.Namespace, ref)
		if err != nil {
			return err
		}
		g.Secret = refTo(secret)
		return nil
	}
	return badKind(gvk)
}

func badKind(gvk schema.GroupVersionKind) error {
	return apierrors.NewBadRequest(fmt.Sprintf("cannot bind token to object of type %s", gvk.String()))
}

func bindPod(ctx context.Context, o *objects, g *Grant, ref *authenticationv1.BoundObjectReference) error {
	obj, err := boundObject(ctx, o, o.pods, g.Namespace, ref)
	if err != nil {
		return err
	}
	pod := obj.(*corev1.Pod)
	if pod.Spec.ServiceAccountName != g.ServiceAccount.Name {
		return apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to pod running with different serviceaccount name.", g.ServiceAccount.Name))
	}
	g.Pod = refTo(pod)
	if pod.Spec.NodeName == "" {
		return nil
	}
	node, err := o.get(ctx, o.nodes, "", pod.Spec.NodeName)
	switch {
	case err == nil:
		g.Node = refTo(node)
	case apierrors.IsNotFound(err):
		// A pod may be bound to a node that is not there (yet).
		g.Node = &Ref{Name: pod.Spec.NodeName}
	default:
		return apierrors.NewInternalError(err)
	}
	return nil
}

// boundObject reads the object of a reference and compares UIDs.
func boundObject(ctx context.Context, o *objects, r *scheme.Resource, namespace string, ref *authenticationv1.BoundObjectReference) (scheme.Object, error) {
	if ref.Name == "" {
		return nil, apierrors.NewBadRequest("Name parameter required.")
	}
	obj, err := o.fresh(ctx, r, namespace, ref.Name)
	if err != nil {
		return nil, err
	}
	if ref.UID != "" && ref.UID != obj.GetUID() {
		return nil, apierrors.NewConflict(schema.GroupResource{Group: r.Group, Resource: r.Kind}, ref.Name, errOtherUID(ref.UID))
	}
	return obj, nil
}

func errOtherUID(uid types.UID) error {
	return fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", uid)
}

func refTo(o scheme.Object) *Ref { return &Ref{Name: o.GetName(), UID: string(o.GetUID())} }
