package certificates

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxKey bounds keys, proofs and requests, in bytes.
const maxKey = 10 << 10

// validateProof requires a key and a proof that the requester holds it: a
// request signed with it or, as v1beta1 began, the signed UID of the pod.
func validateProof(at *field.Path, s *certificatesv1beta1.PodCertificateRequestSpec) field.ErrorList {
	request, key, proof := at.Child("stubPKCS10Request"), at.Child("pkixPublicKey"), at.Child("proofOfPossession")
	if len(s.StubPKCS10Request) > 0 {
		var errs field.ErrorList
		if len(s.PKIXPublicKey) > 0 {
			errs = append(errs, field.Forbidden(key, "must not be set if stubPKCS10Request is set"))
		}
		if len(s.ProofOfPossession) > 0 {
			errs = append(errs, field.Forbidden(proof, "must not be set if stubPKCS10Request is set"))
		}
		return append(errs, validateStub(request, s.StubPKCS10Request)...)
	}
	if len(s.PKIXPublicKey) == 0 && len(s.ProofOfPossession) == 0 {
		return field.ErrorList{field.Required(request, "must be set")}
	}
	if len(s.PKIXPublicKey) > maxKey {
		return field.ErrorList{field.TooLong(key, s.PKIXPublicKey, maxKey)}
	}
	if len(s.ProofOfPossession) > maxKey {
		return field.ErrorList{field.TooLong(proof, s.ProofOfPossession, maxKey)}
	}
	public, err := x509.ParsePKIXPublicKey(s.PKIXPublicKey)
	if err != nil {
		return field.ErrorList{field.Invalid(key, s.PKIXPublicKey, "must be a valid PKIX-serialized public key")}
	}
	if fault := keyFault(public); fault != "" {
		return field.ErrorList{field.Invalid(key, omitted, fault)}
	}
	if !proves(public, []byte(s.PodUID), s.ProofOfPossession) {
		return field.ErrorList{field.Invalid(proof, omitted, "could not verify proof-of-possession signature")}
	}
	return nil
}

func validateStub(at *field.Path, request []byte) field.ErrorList {
	if len(request) > maxKey {
		return field.ErrorList{field.TooLong(at, request, maxKey)}
	}
	parsed, err := x509.ParseCertificateRequest(request)
	if err != nil {
		return field.ErrorList{field.Invalid(at, omitted, "must be a valid PKCS#10 certificate signing request")}
	}
	if fault := keyFault(parsed.PublicKey); fault != "" {
		return field.ErrorList{field.Invalid(at, omitted, fault)}
	}
	if err := parsed.CheckSignature(); err != nil {
		return field.ErrorList{field.Invalid(at, omitted, "signature does not verify")}
	}
	return nil
}

func keyFault(public crypto.PublicKey) string {
	switch k := public.(type) {
	case ed25519.PublicKey:
		return ""
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() || k.Curve == elliptic.P521() {
			return ""
		}
		return "elliptic public keys must use curve P256, P384 or P521"
	case *rsa.PublicKey:
		if bits := k.Size() * 8; bits == 3072 || bits == 4096 {
			return ""
		}
		return "RSA keys must have modulus size 3072 or 4096"
	}
	return "unknown public key type; supported types are Ed25519, ECDSA, and RSA"
}

// proves checks a signature over text.
func proves(public crypto.PublicKey, text, signature []byte) bool {
	digest := sha256.Sum256(text)
	switch k := public.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(k, text, signature)
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, digest[:], signature)
	case *rsa.PublicKey:
		return rsa.VerifyPSS(k, crypto.SHA256, digest[:], signature, nil) == nil
	}
	return false
}

// requested is the key that a valid request is about.
func requested(s *certificatesv1beta1.PodCertificateRequestSpec) crypto.PublicKey {
	if len(s.StubPKCS10Request) > 0 {
		if r, err := x509.ParseCertificateRequest(s.StubPKCS10Request); err == nil {
			return r.PublicKey
		}
		return nil
	}
	public, err := x509.ParsePKIXPublicKey(s.PKIXPublicKey)
	if err != nil {
		return nil
	}
	return public
}

// validateIssued requires a chain whose first certificate is for the
// requested key and is valid for as long as the status says.
func validateIssued(at *field.Path, r *podRequest) field.ErrorList {
	chain := at.Child("certificateChain")
	if r.Status.CertificateChain == "" {
		return field.ErrorList{field.Required(chain, "must be set on an issued request")}
	}
	leaf, errs := parseChain(chain, r.Status.CertificateChain)
	if len(errs) > 0 {
		return errs
	}
	key, _ := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if key == nil || !key.Equal(requested(&r.Spec)) {
		errs = append(errs, field.Invalid(chain, omitted, "leaf certificate was not issued to the requested public key"))
	}
	errs = append(errs, validateMoment(at.Child("notBefore"), r.Status.NotBefore, leaf.NotBefore)...)
	errs = append(errs, validateMoment(at.Child("notAfter"), r.Status.NotAfter, leaf.NotAfter)...)
	errs = append(errs, validateSpan(at, r, leaf)...)
	if b := r.Status.BeginRefreshAt; b == nil {
		errs = append(errs, field.Required(at.Child("beginRefreshAt"), "must be present and consistent with the issued certificate"))
	} else if b.Time.Before(leaf.NotBefore) || b.Time.After(leaf.NotAfter) {
		errs = append(errs, field.Invalid(at.Child("beginRefreshAt"), b, "must be between notBefore and notAfter"))
	}
	return errs
}

func validateSpan(at *field.Path, r *podRequest, leaf *x509.Certificate) field.ErrorList {
	span := leaf.NotAfter.Sub(leaf.NotBefore)
	chain := at.Child("certificateChain")
	if span < minLifetime*time.Second {
		return field.ErrorList{field.Invalid(chain, omitted, fmt.Sprintf("leaf certificate lifetime must be >= %d seconds", minLifetime))}
	}
	if most := r.Spec.MaxExpirationSeconds; most != nil && span > time.Duration(*most)*time.Second {
		return field.ErrorList{field.Invalid(chain, omitted, fmt.Sprintf("leaf certificate lifetime must be <= spec.maxExpirationSeconds (%v)", *most))}
	}
	return nil
}

func validateMoment(at *field.Path, said *metav1.Time, is time.Time) field.ErrorList {
	if said == nil {
		return field.ErrorList{field.Required(at, "must be present and consistent with the issued certificate")}
	}
	if !said.Time.Equal(is) {
		return field.ErrorList{field.Invalid(at, said, "must be set to the time encoded in the leaf certificate")}
	}
	return nil
}

func parseChain(at *field.Path, chain string) (leaf *x509.Certificate, errs field.ErrorList) {
	for i, rest := 0, []byte(chain); ; i++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if leaf == nil && len(errs) == 0 {
				errs = append(errs, field.Invalid(at, omitted, "must contain at least one PEM certificate"))
			}
			return leaf, errs
		}
		if block.Type != "CERTIFICATE" {
			errs = append(errs, field.Invalid(at, omitted, fmt.Sprintf("entry %d has bad block type: %v", i, block.Type)))
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			errs = append(errs, field.Invalid(at, omitted, fmt.Sprintf("entry %d does not parse as X.509: %v", i, err)))
			continue
		}
		if leaf == nil {
			leaf = cert
		}
	}
}
