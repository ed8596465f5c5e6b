package core

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
)

func checkDownwardAPI(s *corev1.VolumeSource, p *field.Path) field.ErrorList {
	p = p.Child("downwardAPI")
	errs := fileMode(s.DownwardAPI.DefaultMode, p, "defaultMode")
	for i := range s.DownwardAPI.Items {
		errs = append(errs, validateDownwardFile(&s.DownwardAPI.Items[i], p)...)
	}
	return errs
}

// validateDownwardFile checks one file. Its errors are reported at the volume,
// without the index of the file.
func validateDownwardFile(f *corev1.DownwardAPIVolumeFile, p *field.Path) field.ErrorList {
	errs := required(p, "path", f.Path)
	errs = append(errs, projectedPath(f.Path, p, "path")...)
	switch {
	case f.FieldRef != nil:
		errs = append(errs, validateFieldRef(f.FieldRef, volumeFieldPaths, p)...)
		if f.ResourceFieldRef != nil {
			errs = append(errs, field.Invalid(p, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
		}
	case f.ResourceFieldRef != nil:
		errs = append(errs, validateResourceFieldRef(f.ResourceFieldRef, true, p.Child("resourceFieldRef"))...)
	default:
		errs = append(errs, field.Required(p, "one of fieldRef and resourceFieldRef is required"))
	}
	return append(errs, fileMode(f.Mode, p, "mode")...)
}

// projection checks the sources of a projected volume, whose files share one
// directory.
type projection struct {
	path *field.Path
	// taken are the files so far.
	taken []string
	errs  field.ErrorList
}

func validateProjected(v *corev1.ProjectedVolumeSource, path *field.Path) field.ErrorList {
	c := projection{path: path, errs: fileMode(v.DefaultMode, path, "defaultMode")}
	for i := range v.Sources {
		c.source(&v.Sources[i], path.Child("sources").Index(i))
	}
	return c.errs
}

func (c *projection) source(s *corev1.VolumeProjection, p *field.Path) {
	n := 0
	if s.Secret != nil {
		n++
		c.keys(s.Secret.Name, s.Secret.Items, p.Child("secret"))
	}
	if s.ConfigMap != nil {
		n++
		c.keys(s.ConfigMap.Name, s.ConfigMap.Items, p.Child("configMap"))
	}
	if s.DownwardAPI != nil {
		n++
		for i := range s.DownwardAPI.Items {
			f := &s.DownwardAPI.Items[i]
			c.add(validateDownwardFile(f, p.Child("downwardAPI")))
			c.take(f.Path, f.Path)
		}
	}
	if s.ServiceAccountToken != nil {
		n++
		c.token(s.ServiceAccountToken, p.Child("serviceAccountToken"))
	}
	if s.ClusterTrustBundle != nil {
		n++
		c.trustBundle(s.ClusterTrustBundle, p.Child("clusterTrustBundle"))
	}
	if s.PodCertificate != nil {
		n++
		c.certificate(s.PodCertificate, p.Child("podCertificate"))
	}
	if n > 1 {
		c.errs = append(c.errs, field.Forbidden(p, "may not specify more than 1 volume type per source"))
	}
}

func (c *projection) add(errs field.ErrorList) { c.errs = append(c.errs, errs...) }

// take claims a file; value is what the message shows.
func (c *projection) take(file, value string) {
	if file == "" {
		return
	}
	for _, t := range c.taken {
		if t == file {
			c.errs = append(c.errs, field.Invalid(c.path, value, "conflicting duplicate paths"))
			return
		}
	}
	c.taken = append(c.taken, file)
}

func (c *projection) keys(name string, items []corev1.KeyToPath, p *field.Path) {
	c.add(required(p, "name", name))
	for i := range items {
		c.add(keyToPath(&items[i], p.Child("items").Index(i)))
		c.take(items[i].Path, name)
	}
}

// The life of a projected token, in seconds.
const (
	minTokenSeconds = 10 * 60
	maxTokenSeconds = 1 << 32
)

func (c *projection) token(t *corev1.ServiceAccountTokenProjection, p *field.Path) {
	if e := t.ExpirationSeconds; e != nil && *e < minTokenSeconds {
		c.errs = append(c.errs, field.Invalid(p.Child("expirationSeconds"), *e, "may not specify a duration less than 10 minutes"))
	} else if e != nil && *e > maxTokenSeconds {
		c.errs = append(c.errs, field.Invalid(p.Child("expirationSeconds"), *e, "may not specify a duration larger than 2^32 seconds"))
	}
	// The path is reported at the volume, not at the source.
	if t.Path == "" {
		c.errs = append(c.errs, field.Required(c.path.Child("path"), ""))
	} else {
		c.add(projectedPath(t.Path, c.path, "path"))
	}
}

func (c *projection) trustBundle(b *corev1.ClusterTrustBundleProjection, p *field.Path) {
	switch {
	case b.Name != nil && b.SignerName != nil:
		c.errs = append(c.errs, field.Invalid(p, internalform.Of(b), "only one of name and signerName may be used"))
	case b.Name != nil:
		if *b.Name == "" {
			c.errs = append(c.errs, field.Required(p.Child("name"), "must be a valid object name"))
		}
		for _, msg := range trustBundleName(*b.Name) {
			c.errs = append(c.errs, field.Invalid(p.Child("name"), *b.Name, "not a valid clustertrustbundlename: "+msg))
		}
		if b.LabelSelector != nil {
			c.errs = append(c.errs, field.Invalid(p.Child("labelSelector"), b.LabelSelector, "labelSelector must be unset if name is specified"))
		}
	case b.SignerName != nil:
		if *b.SignerName == "" {
			c.errs = append(c.errs, field.Required(p.Child("signerName"), "must be a valid signer name"))
		}
		c.add(validateSignerName(*b.SignerName, p.Child("signerName")))
		c.add(metav1validation.ValidateLabelSelector(b.LabelSelector, metav1validation.LabelSelectorValidationOptions{}, p.Child("labelSelector")))
	default:
		c.errs = append(c.errs, field.Required(p, "either name or signerName must be specified"))
	}
	if b.Path == "" {
		c.errs = append(c.errs, field.Required(p.Child("path"), ""))
	}
	c.add(projectedPath(b.Path, p, "path"))
	c.take(b.Path, b.Path)
}

// trustBundleName takes plain names and SIGNER-DOMAIN:SIGNER-NAME:NAME.
func trustBundleName(name string) []string {
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		return apivalidation.NameIsDNSSubdomain(name[i+1:], false)
	}
	return apivalidation.NameIsDNSSubdomain(name, false)
}

// The life of a pod certificate, in seconds.
const (
	minCertificateSeconds = 3600
	maxCertificateSeconds = 91 * 86400
)

var podCertificateKeyTypes = []string{"RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"}

func (c *projection) certificate(pc *corev1.PodCertificateProjection, p *field.Path) {
	c.add(validateSignerName(pc.SignerName, p.Child("signerName")))
	c.add(check.OneOf(p.Child("keyType"), pc.KeyType, podCertificateKeyTypes...))
	if s := pc.MaxExpirationSeconds; s != nil && *s < minCertificateSeconds {
		c.errs = append(c.errs, field.Invalid(p.Child("maxExpirationSeconds"), *s, fmt.Sprintf("if provided, maxExpirationSeconds must be >= %d", minCertificateSeconds)))
	} else if s != nil && *s > maxCertificateSeconds {
		c.errs = append(c.errs, field.Invalid(p.Child("maxExpirationSeconds"), *s, fmt.Sprintf("if provided, maxExpirationSeconds must be <= %d", maxCertificateSeconds)))
	}
	files := []struct{ name, path string }{
		{"credentialBundlePath", pc.CredentialBundlePath},
		{"keyPath", pc.KeyPath},
		{"certificateChainPath", pc.CertificateChainPath},
	}
	n := 0
	for _, f := range files {
		if f.path == "" {
			continue
		}
		n++
		c.add(projectedPath(f.path, p, f.name))
		c.take(f.path, f.path)
	}
	if n == 0 {
		c.errs = append(c.errs, field.Required(p, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"))
	}
	c.userAnnotations(pc.UserAnnotations, p.Child("userAnnotations"))
}

// userAnnotations are annotations for the signer, every key under a domain.
func (c *projection) userAnnotations(annotations map[string]string, p *field.Path) {
	if len(annotations) == 0 {
		return
	}
	c.add(apivalidation.ValidateAnnotations(annotations, p))
	for key := range annotations {
		if len(utilvalidation.IsQualifiedName(key)) == 0 && !strings.Contains(key, "/") {
			c.errs = append(c.errs, field.Invalid(p.Key(key), key, "must be domain-prefixed"))
		}
	}
}

// validateSignerName takes "example.com/signer-name".
func validateSignerName(name string, p *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	domain, rest, ok := strings.Cut(name, "/")
	if !ok || strings.Contains(rest, "/") {
		return field.ErrorList{field.Invalid(p, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")}
	}
	var errs field.ErrorList
	if len(domain) > 253 {
		errs = append(errs, field.TooLong(p, domain, 253))
	}
	labels := strings.Split(domain, ".")
	for _, l := range labels {
		for _, msg := range utilvalidation.IsDNS1123Label(l) {
			errs = append(errs, field.Invalid(p, domain, fmt.Sprintf("validating label %q: %s", l, msg)))
		}
	}
	if len(labels) < 2 {
		errs = append(errs, field.Invalid(p, domain, "should be a domain with at least two segments separated by dots"))
	}
	for l := range strings.SplitSeq(rest, ".") {
		for _, msg := range utilvalidation.IsDNS1123Subdomain(l) {
			errs = append(errs, field.Invalid(p, rest, fmt.Sprintf("validating label %q: %s", l, msg)))
		}
	}
	const longest = 571
	if len(name) > longest {
		errs = append(errs, field.TooLong(p, name, longest))
	}
	return errs
}

// validateEphemeralVolume checks the template of the claim made for the pod.
func validateEphemeralVolume(e *corev1.EphemeralVolumeSource, p *field.Path) field.ErrorList {
	p = p.Child("volumeClaimTemplate")
	t := e.VolumeClaimTemplate
	if t == nil {
		return field.ErrorList{field.Required(p, "")}
	}
	var errs field.ErrorList
	meta := p.Child("metadata")
	if len(t.Annotations) > 0 {
		errs = append(errs, apivalidation.ValidateAnnotations(t.Annotations, meta.Child("annotations"))...)
	}
	if len(t.Labels) > 0 {
		errs = append(errs, metav1validation.ValidateLabels(t.Labels, meta.Child("labels"))...)
	}
	errs = append(errs, onlyFields(&t.ObjectMeta, meta, "cannot be set for an ephemeral volume", "Annotations", "Labels")...)
	return append(errs, ValidatePersistentVolumeClaimSpec(&t.Spec, p.Child("spec"))...)
}
