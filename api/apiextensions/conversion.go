package apiextensions

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/webhook"
)

// validateConversion looks at the conversion; messages name the webhook's
// fields where Kubernetes keeps them, directly below spec.conversion.
func (d *definition) validateConversion() field.ErrorList {
	c, path := d.Spec.Conversion, d.spec.Child("conversion")
	if c == nil {
		return nil
	}
	var errs field.ErrorList
	if c.Strategy == "" {
		errs = append(errs, field.Required(path.Child("strategy"), ""))
	} else {
		errs = append(errs, check.OneOf(path.Child("strategy"), c.Strategy, apiextensionsv1.NoneConverter, apiextensionsv1.WebhookConverter)...)
	}
	var config *apiextensionsv1.WebhookClientConfig
	var versions []string
	if c.Webhook != nil {
		config, versions = c.Webhook.ClientConfig, c.Webhook.ConversionReviewVersions
	}
	if c.Strategy == apiextensionsv1.WebhookConverter {
		errs = append(errs, d.validateClientConfig(path.Child("webhookClientConfig"), config)...)
		return append(errs, d.validateReviewVersions(path.Child("conversionReviewVersions"), versions)...)
	}
	if config != nil {
		errs = append(errs, field.Forbidden(path.Child("webhookClientConfig"), "should not be set when strategy is not set to Webhook"))
	}
	if len(versions) > 0 {
		errs = append(errs, field.Forbidden(path.Child("conversionReviewVersions"), "should not be set when strategy is not set to Webhook"))
	}
	return errs
}

func (d *definition) validateClientConfig(path *field.Path, c *apiextensionsv1.WebhookClientConfig) field.ErrorList {
	if c == nil {
		return field.ErrorList{field.Required(path, "required when strategy is set to Webhook")}
	}
	var errs field.ErrorList
	switch {
	case (c.URL == nil) == (c.Service == nil):
		errs = append(errs, field.Required(path, "exactly one of url or service is required"))
	case c.URL != nil:
		errs = append(errs, webhook.ValidateURL(path.Child("url"), *c.URL)...)
	default:
		port := int32(defaultServicePort)
		if c.Service.Port != nil {
			port = *c.Service.Port
		}
		errs = append(errs, webhook.ValidateService(path.Child("service"), c.Service.Namespace, c.Service.Name, c.Service.Path, port)...)
	}
	if len(c.CABundle) > 0 && !d.keepsBundle(c.CABundle) {
		errs = append(errs, validateBundle(path.Child("caBundle"), c.CABundle)...)
	}
	return errs
}

// keepsBundle reports whether the bundle is the stored definition's: those
// from before bundles were checked stay.
func (d *definition) keepsBundle(bundle []byte) bool {
	if d.old == nil || d.old.Spec.Conversion == nil {
		return false
	}
	w := d.old.Spec.Conversion.Webhook
	return w != nil && w.ClientConfig != nil && bytes.Equal(w.ClientConfig.CABundle, bundle)
}

func validateBundle(path *field.Path, bundle []byte) field.ErrorList {
	found := false
	for rest := bundle; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return field.ErrorList{field.Invalid(path, bundle, "unable to load root certificates: "+err.Error())}
		}
		found = true
	}
	if !found {
		return field.ErrorList{field.Invalid(path, bundle, "unable to load root certificates: unable to parse bytes as PEM block")}
	}
	return nil
}

func (d *definition) validateReviewVersions(path *field.Path, versions []string) field.ErrorList {
	if len(versions) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	for i, v := range versions {
		if slices.Contains(versions[:i], v) {
			errs = append(errs, field.Invalid(path.Index(i), v, "duplicate version"))
			continue
		}
		errs = append(errs, check.Messages(path.Index(i), v, validation.IsDNS1035Label(v))...)
	}
	if !slices.ContainsFunc(versions, reviewVersion) && !d.hadUnknownReviews() {
		errs = append(errs, field.Invalid(path, versions, "must include at least one of v1, v1beta1"))
	}
	return errs
}

func reviewVersion(v string) bool { return v == "v1" || v == "v1beta1" }

// hadUnknownReviews reports whether the stored definition has a webhook that
// this server can't call; it may stay that way.
func (d *definition) hadUnknownReviews() bool {
	if d.old == nil || d.old.Spec.Conversion == nil || d.old.Spec.Conversion.Webhook == nil {
		return false
	}
	stored := d.old.Spec.Conversion.Webhook.ConversionReviewVersions
	return len(stored) > 0 && !slices.ContainsFunc(stored, reviewVersion)
}
