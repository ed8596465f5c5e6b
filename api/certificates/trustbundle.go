package certificates

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1alpha1 "k8s.io/api/certificates/v1alpha1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
	"xebec.dev/api/version"
)

func trustBundles() scheme.Resource {
	return scheme.Resource{
		Group: group, Version: "v1beta1", Kind: "ClusterTrustBundle",
		Plural: "clustertrustbundles", Singular: "clustertrustbundle",
		New:     func() runtime.Object { return new(certificatesv1beta1.ClusterTrustBundle) },
		NewList: func() runtime.Object { return new(certificatesv1beta1.ClusterTrustBundleList) },
		Served: []scheme.Version{
			version.WireEqual[certificatesv1.ClusterTrustBundle, certificatesv1.ClusterTrustBundleList, certificatesv1beta1.ClusterTrustBundle](group, "v1"),
			version.Off(version.Own(group, "v1beta1", &certificatesv1beta1.ClusterTrustBundle{})),
		},
		Stored: []scheme.Version{
			version.WireEqual[certificatesv1alpha1.ClusterTrustBundle, certificatesv1alpha1.ClusterTrustBundleList, certificatesv1beta1.ClusterTrustBundle](group, "v1alpha1"),
		},
		StoragePrefix: "clustertrustbundles",
		Fields:        []scheme.SelectableField{{Label: "spec.signerName"}},
		Columns: []metav1.TableColumnDefinition{
			table.Name(), table.Field("SignerName", certificatesv1beta1.ClusterTrustBundleSpec{}, "signerName"),
		},
		Row: scheme.Rows(func(b *certificatesv1beta1.ClusterTrustBundle, _ metav1.Time) []any {
			return []any{b.Name, table.OrNone(b.Spec.SignerName)}
		}),
		Strategy: scheme.Hooks[certificatesv1beta1.ClusterTrustBundle]{
			ValidateName: func(name string, prefix bool) []string { return path.ValidatePathSegmentName(name, prefix) },
			ValidateCreate: func(b *certificatesv1beta1.ClusterTrustBundle) field.ErrorList {
				return append(validateBundleName(b), validateBundleSpec(&b.Spec, true)...)
			},
			ValidateUpdate: func(b, old *certificatesv1beta1.ClusterTrustBundle) field.ErrorList {
				errs := validateBundleName(b)
				errs = append(errs, validateBundleSpec(&b.Spec, b.Spec.TrustBundle != old.Spec.TrustBundle)...)
				return append(errs, check.Unchanged(field.NewPath("spec", "signerName"), b.Spec.SignerName, old.Spec.SignerName, nil)...)
			},
		}.Erase(),
	}
}

// validateBundleName ties the name to the signer, so that who may attest for
// a signer owns its names.
func validateBundleName(b *certificatesv1beta1.ClusterTrustBundle) field.ErrorList {
	at := field.NewPath("metadata", "name")
	if b.Spec.SignerName == "" {
		if strings.Contains(b.Name, ":") {
			return field.ErrorList{field.Invalid(at, b.Name, `ClusterTrustBundle without signer name must not have ":" in its name`)}
		}
		return check.Messages(at, b.Name, validation.NameIsDNSSubdomain(b.Name, false))
	}
	prefix := strings.ReplaceAll(b.Spec.SignerName, "/", ":") + ":"
	rest, ok := strings.CutPrefix(b.Name, prefix)
	if !ok {
		return field.ErrorList{field.Invalid(at, b.Name, fmt.Sprintf("ClusterTrustBundle for signerName %s must be named with prefix %s", b.Spec.SignerName, prefix))}
	}
	return check.Messages(at, b.Name, validation.NameIsDNSSubdomain(rest, false))
}

func validateBundleSpec(s *certificatesv1beta1.ClusterTrustBundleSpec, parse bool) field.ErrorList {
	at := field.NewPath("spec")
	var errs field.ErrorList
	if s.SignerName != "" {
		errs = append(errs, ValidateSignerName(at.Child("signerName"), s.SignerName)...)
	}
	if parse {
		errs = append(errs, validateAnchors(at.Child("trustBundle"), s.TrustBundle)...)
	}
	return errs
}

// omitted stands for certificates in messages.
const omitted = "<value omitted>"

func validateAnchors(at *field.Path, bundle string) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]int{}
	for i, rest := 0, []byte(bundle); ; i++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if i == 0 {
				errs = append(errs, field.Invalid(at, omitted, "at least one trust anchor must be provided"))
			}
			return errs
		}
		if fault := anchorFault(i, block); fault != "" {
			errs = append(errs, field.Invalid(at, omitted, fault))
			continue
		}
		if first, repeated := seen[string(block.Bytes)]; repeated {
			errs = append(errs, field.Invalid(at, omitted, fmt.Sprintf("entries %d and %d are duplicates", first, i)))
			continue
		}
		seen[string(block.Bytes)] = i
	}
}

func anchorFault(i int, block *pem.Block) string {
	if block.Type != "CERTIFICATE" {
		return fmt.Sprintf("entry %d has bad block type: %v", i, block.Type)
	}
	if len(block.Headers) > 0 {
		return fmt.Sprintf("entry %d has PEM block headers", i)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	switch {
	case err != nil:
		return fmt.Sprintf("entry %d does not parse as X.509: %v", i, err)
	case !cert.BasicConstraintsValid:
		return fmt.Sprintf("entry %d does not have the basic constraints extension", i)
	case !cert.IsCA:
		return fmt.Sprintf("entry %d does not have the CA bit set", i)
	}
	return ""
}
