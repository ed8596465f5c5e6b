package volume

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
)

func hasBundle(v *corev1.Volume) bool {
	return v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool { return s.ClusterTrustBundle != nil })
}

// trustBundle puts in the authorities of one bundle, or of all bundles of a
// signer that the selector selects.
func (m *Manager) trustBundle(ctx context.Context, p Payload, s *corev1.ClusterTrustBundleProjection, mode int32) error {
	if m.o.API == nil {
		return errors.New("this kubelet has no API server to read trust bundles from")
	}
	var texts []string
	switch {
	case s.Name != nil:
		b, err := client.Get[*certificatesv1beta1.ClusterTrustBundle](ctx, m.o.API, "", *s.Name)
		if err != nil && !(isTrue(s.Optional) && apierrors.IsNotFound(err)) {
			return err
		}
		if err == nil {
			texts = append(texts, b.Spec.TrustBundle)
		}
	case s.SignerName != nil:
		selector, err := metav1.LabelSelectorAsSelector(s.LabelSelector)
		if err != nil {
			return err
		}
		all, _, err := client.List[*certificatesv1beta1.ClusterTrustBundle](ctx, m.o.API, client.Selection{Labels: selector.String(), Fields: "spec.signerName=" + *s.SignerName})
		if err != nil {
			return err
		}
		if len(all) == 0 && !isTrue(s.Optional) {
			return fmt.Errorf("combination of signerName %q and labelSelector matched zero ClusterTrustBundles", *s.SignerName)
		}
		for _, b := range all {
			texts = append(texts, b.Spec.TrustBundle)
		}
	}
	return p.add(s.Path, File{Data: normalized(texts), Mode: mode})
}

// normalized are the certificates of all texts, each once, sorted, without
// headers and what is between them.
func normalized(texts []string) []byte {
	var blocks []string
	for _, text := range texts {
		rest := []byte(text)
		for {
			var b *pem.Block
			if b, rest = pem.Decode(rest); b == nil {
				break
			}
			if b.Type == "CERTIFICATE" {
				blocks = append(blocks, string(pem.EncodeToMemory(&pem.Block{Type: b.Type, Bytes: b.Bytes})))
			}
		}
	}
	slices.Sort(blocks)
	var out bytes.Buffer
	for _, b := range slices.Compact(blocks) {
		out.WriteString(b)
	}
	return out.Bytes()
}
