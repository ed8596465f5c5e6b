package certificates

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

// minExpirationSeconds is what every signer must honour.
const minExpirationSeconds = 600

// usages are the known key usages, in the order of messages.
var usages = []certificatesv1.KeyUsage{
	certificatesv1.UsageAny, certificatesv1.UsageCertSign, certificatesv1.UsageClientAuth, certificatesv1.UsageCodeSigning,
	certificatesv1.UsageContentCommitment, certificatesv1.UsageCRLSign, certificatesv1.UsageDataEncipherment,
	certificatesv1.UsageDecipherOnly, certificatesv1.UsageDigitalSignature, certificatesv1.UsageEmailProtection,
	certificatesv1.UsageEncipherOnly, certificatesv1.UsageIPsecEndSystem, certificatesv1.UsageIPsecTunnel,
	certificatesv1.UsageIPsecUser, certificatesv1.UsageKeyAgreement, certificatesv1.UsageKeyEncipherment,
	certificatesv1.UsageMicrosoftSGC, certificatesv1.UsageNetscapeSGC, certificatesv1.UsageOCSPSigning,
	certificatesv1.UsageSMIME, certificatesv1.UsageServerAuth, certificatesv1.UsageSigning, certificatesv1.UsageTimestamping,
}

// tolerated are faults that an update may keep because the old object has
// them: certificates.k8s.io/v1beta1 let them in.
type tolerated struct {
	unknownUsages    bool
	duplicateUsages  bool
	legacySigner     bool
	duplicateTypes   bool
	emptyTypes       bool
	bothDecisions    bool
	otherCertificate bool
}

func toleratedOf(old *certificatesv1.CertificateSigningRequest) tolerated {
	var t tolerated
	seenUsages := map[certificatesv1.KeyUsage]bool{}
	for _, u := range old.Spec.Usages {
		t.unknownUsages = t.unknownUsages || !slices.Contains(usages, u)
		t.duplicateUsages = t.duplicateUsages || seenUsages[u]
		seenUsages[u] = true
	}
	t.legacySigner = old.Spec.SignerName == legacyUnknown
	seenTypes := map[certificatesv1.RequestConditionType]bool{}
	for _, c := range old.Status.Conditions {
		t.emptyTypes = t.emptyTypes || c.Type == ""
		t.duplicateTypes = t.duplicateTypes || seenTypes[c.Type]
		seenTypes[c.Type] = true
	}
	t.bothDecisions = seenTypes[certificatesv1.CertificateApproved] && seenTypes[certificatesv1.CertificateDenied]
	t.otherCertificate = len(old.Status.Certificate) > 0 && validateCertificate(old.Status.Certificate) != nil
	return t
}

func validateCreate(r *certificatesv1.CertificateSigningRequest) field.ErrorList {
	return validateRequest(r, tolerated{})
}

func validateRequest(r *certificatesv1.CertificateSigningRequest, t tolerated) field.ErrorList {
	path := field.NewPath("spec")
	var errs field.ErrorList
	if _, err := ParseRequest(r.Spec.Request); err != nil {
		errs = append(errs, field.Invalid(path.Child("request"), r.Spec.Request, err.Error()))
	}
	errs = append(errs, validateUsages(r.Spec.Usages, t, path.Child("usages"))...)
	if r.Spec.SignerName == legacyUnknown {
		if !t.legacySigner {
			errs = append(errs, field.Invalid(path.Child("signerName"), r.Spec.SignerName, "the legacy signerName is not allowed via this API version"))
		}
	} else {
		errs = append(errs, ValidateSignerName(path.Child("signerName"), r.Spec.SignerName)...)
	}
	if e := r.Spec.ExpirationSeconds; e != nil && *e < minExpirationSeconds {
		errs = append(errs, field.Invalid(path.Child("expirationSeconds"), *e, "may not specify a duration less than 600 seconds (10 minutes)"))
	}
	errs = append(errs, validateConditions(r.Status.Conditions, t, field.NewPath("status", "conditions"))...)
	if len(r.Status.Certificate) > 0 && !t.otherCertificate {
		if err := validateCertificate(r.Status.Certificate); err != nil {
			errs = append(errs, field.Invalid(field.NewPath("status", "certificate"), "<certificate data>", err.Error()))
		}
	}
	return errs
}

// ParseRequest decodes the PEM block of a certificate request.
func ParseRequest(data []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	return x509.ParseCertificateRequest(block.Bytes)
}

func validateUsages(given []certificatesv1.KeyUsage, t tolerated, path *field.Path) field.ErrorList {
	if len(given) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	if !t.unknownUsages {
		for i, u := range given {
			errs = append(errs, check.OneOf(path.Index(i), u, usages...)...)
		}
	}
	if !t.duplicateUsages {
		for i, u := range given {
			if slices.Contains(given[:i], u) {
				errs = append(errs, field.Duplicate(path.Index(i), u))
			}
		}
	}
	return errs
}

func validateConditions(conditions []certificatesv1.CertificateSigningRequestCondition, t tolerated, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[certificatesv1.RequestConditionType]bool{}
	for i := range conditions {
		c, at := &conditions[i], path.Index(i)
		if c.Type == "" && !t.emptyTypes {
			errs = append(errs, field.Required(at.Child("type"), ""))
		}
		switch {
		case c.Status == "":
			errs = append(errs, field.Required(at.Child("status"), ""))
		case isDecision(c.Type):
			errs = append(errs, check.OneOf(at.Child("status"), c.Status, corev1.ConditionTrue)...)
		default:
			errs = append(errs, check.OneOf(at.Child("status"), c.Status, corev1.ConditionFalse, corev1.ConditionTrue, corev1.ConditionUnknown)...)
		}
		if !t.bothDecisions && (c.Type == certificatesv1.CertificateApproved && seen[certificatesv1.CertificateDenied] ||
			c.Type == certificatesv1.CertificateDenied && seen[certificatesv1.CertificateApproved]) {
			errs = append(errs, field.Invalid(path, c.Type, "Approved and Denied conditions are mutually exclusive"))
		}
		if seen[c.Type] && !t.duplicateTypes {
			errs = append(errs, field.Duplicate(at.Child("type"), c.Type))
		}
		seen[c.Type] = true
	}
	return errs
}

// validateCertificate allows text around the PEM blocks, but no other blocks
// and no headers in them.
func validateCertificate(data []byte) error {
	found := false
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("only CERTIFICATE PEM blocks are allowed, found %q", block.Type)
		}
		if len(block.Headers) > 0 {
			return errors.New("no PEM block headers are permitted")
		}
		certificates, err := x509.ParseCertificates(block.Bytes)
		if err != nil {
			return err
		}
		if len(certificates) == 0 {
			return errors.New("found CERTIFICATE PEM block containing 0 certificates")
		}
		found = true
	}
	if !found {
		return errors.New("must contain at least one CERTIFICATE PEM block")
	}
	return nil
}

// mayChange says which parts of the status an endpoint may change.
type mayChange struct {
	approval    bool
	certificate bool
}

func validateUpdate(may mayChange) func(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	return func(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
		errs := validateRequest(r, toleratedOf(old))
		path := field.NewPath("status", "conditions")
		for _, t := range []certificatesv1.RequestConditionType{
			certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed} {
			if len(conditionsOf(r, t)) < len(conditionsOf(old, t)) {
				errs = append(errs, field.Forbidden(path, fmt.Sprintf("updates may not remove a condition of type %q", t)))
			}
		}
		if !may.approval {
			errs = append(errs, validateSameDecision(r, old, path)...)
		}
		if !bytes.Equal(r.Status.Certificate, old.Status.Certificate) {
			at := field.NewPath("status", "certificate")
			if !may.certificate {
				errs = append(errs, field.Forbidden(at, "updates may not set certificate content"))
			} else if len(old.Status.Certificate) > 0 {
				errs = append(errs, field.Forbidden(at, "updates may not modify existing certificate content"))
			}
		}
		return errs
	}
}

// validateSameDecision refuses new decisions. Changed ones do not get here:
// the endpoint restored them.
func validateSameDecision(r, old *certificatesv1.CertificateSigningRequest, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, t := range []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateDenied} {
		if len(conditionsOf(r, t)) > len(conditionsOf(old, t)) {
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("updates may not add a condition of type %q", t)))
		}
	}
	return errs
}
