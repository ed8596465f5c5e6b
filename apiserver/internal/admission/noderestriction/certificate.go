package noderestriction

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/apiserver/internal/admission"
)

// checkRequest keeps a node from asking for a certificate of another.
func checkRequest(node string, a *admission.Attributes) error {
	if a.Operation != admission.Create || a.Subresource != "" {
		return nil
	}
	r, ok := a.Object.(*certificatesv1.CertificateSigningRequest)
	if !ok {
		return fmt.Errorf("unexpected type %T", a.Object)
	}
	if s := r.Spec.SignerName; s != certificatesv1.KubeletServingSignerName && s != certificatesv1.KubeAPIServerClientKubeletSignerName {
		return nil
	}
	block, _ := pem.Decode(r.Spec.Request)
	if block == nil {
		return errors.New("unable to parse csr: PEM block type must be CERTIFICATE REQUEST")
	}
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return fmt.Errorf("unable to parse csr: %w", err)
	}
	if asked.Subject.CommonName != userPrefix+node {
		return fmt.Errorf("can only create a node CSR with CN=%s%s", userPrefix, node)
	}
	return nil
}

// podCertificate: all that a request names must be as it is on the node.
func (p *Plugin) podCertificate(ctx context.Context, node string, a *admission.Attributes) error {
	if a.Operation != admission.Create {
		return fmt.Errorf("unexpected operation %v", a.Operation)
	}
	if a.Subresource != "" {
		return fmt.Errorf("unexpected subresource %v", a.Subresource)
	}
	r, ok := a.Object.(*certificatesv1beta1.PodCertificateRequest) // as they are stored
	if !ok {
		return fmt.Errorf("unexpected type %T", a.Object)
	}
	s := &r.Spec
	if string(s.NodeName) != node {
		return fmt.Errorf("PodCertificateRequest.Spec.NodeName=%q, which is not the requesting node %q", s.NodeName, node)
	}
	o, err := admission.Fetch(ctx, p.reader, p.store, p.nodes, "", node)
	if err != nil {
		return fmt.Errorf("while retrieving node %q named in the PodCertificateRequest: %w", node, err)
	}
	if o.GetUID() != s.NodeUID {
		return fmt.Errorf("PodCertificateRequest for pod %q names node UID %q, inconsistent with the running node (%q)", s.PodName, s.NodeUID, o.GetUID())
	}
	if o, err = admission.Fetch(ctx, p.reader, p.store, p.pods, a.Namespace, s.PodName); err != nil {
		return fmt.Errorf("while retrieving pod %q named in the PodCertificateRequest: %w", s.PodName, err)
	}
	pod := o.(*corev1.Pod)
	switch _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; {
	case pod.UID != s.PodUID:
		return fmt.Errorf("PodCertificateRequest for pod %q contains pod UID (%q) which differs from running pod %q", s.PodName, s.PodUID, pod.UID)
	case mirror:
		return fmt.Errorf("pod %q is a mirror pod", s.PodName)
	case pod.Spec.NodeName != node:
		return fmt.Errorf("pod %q is not running on node %q named in the PodCertificateRequest", s.PodName, node)
	case pod.Spec.ServiceAccountName != s.ServiceAccountName:
		return fmt.Errorf("PodCertificateRequest for pod %q contains serviceAccountName (%q) that differs from running pod (%q)", s.PodName, s.ServiceAccountName, pod.Spec.ServiceAccountName)
	}
	if o, err = admission.Fetch(ctx, p.reader, p.store, p.accounts, a.Namespace, s.ServiceAccountName); err != nil {
		return fmt.Errorf("while retrieving service account %q named in the PodCertificateRequest: %w", s.ServiceAccountName, err)
	}
	if o.GetUID() != s.ServiceAccountUID {
		return fmt.Errorf("PodCertificateRequest for pod %q names service account UID %q, which differs from the running service account (%q)", s.PodName, s.ServiceAccountUID, o.GetUID())
	}
	return nil
}
