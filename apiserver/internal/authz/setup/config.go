package setup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/apiserver/internal/configfile"
)

// configuration is the kind AuthorizationConfiguration.
type configuration struct {
	metav1.TypeMeta `json:",inline"`
	Authorizers     []authorizerConfig `json:"authorizers"`
}

type authorizerConfig struct {
	Type    string         `json:"type"`
	Name    string         `json:"name"`
	Webhook *webhookConfig `json:"webhook,omitempty"`
}

type webhookConfig struct {
	AuthorizedTTL             metav1.Duration  `json:"authorizedTTL"`
	CacheAuthorized           *bool            `json:"cacheAuthorizedRequests,omitempty"`
	UnauthorizedTTL           metav1.Duration  `json:"unauthorizedTTL"`
	CacheUnauthorized         *bool            `json:"cacheUnauthorizedRequests,omitempty"`
	Timeout                   metav1.Duration  `json:"timeout"`
	ReviewVersion             string           `json:"subjectAccessReviewVersion"`
	MatchConditionsReviewVers string           `json:"matchConditionSubjectAccessReviewVersion"`
	FailurePolicy             string           `json:"failurePolicy"`
	ConnectionInfo            connectionInfo   `json:"connectionInfo"`
	MatchConditions           []matchCondition `json:"matchConditions,omitempty"`
}

type connectionInfo struct {
	Type           string  `json:"type"`
	KubeConfigFile *string `json:"kubeConfigFile,omitempty"`
}

type matchCondition struct {
	Expression string `json:"expression"`
}

const (
	fromKubeConfig = "KubeConfigFile"
	fromInCluster  = "InClusterConfig"
	policyNoOpinon = "NoOpinion"
	policyDeny     = "Deny"
	maxTimeout     = 30 * time.Second
)

func parseConfiguration(content []byte) (*configuration, error) {
	var c configuration
	if _, err := configfile.Decode(content, configfile.Group, "AuthorizationConfiguration", []string{"v1", "v1beta1", "v1alpha1"}, &c); err != nil {
		return nil, err
	}
	for i := range c.Authorizers {
		if w := c.Authorizers[i].Webhook; w != nil {
			w.setDefaults()
		}
	}
	if errs := c.validate(); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	return &c, nil
}

func (w *webhookConfig) setDefaults() {
	if w.AuthorizedTTL.Duration == 0 {
		w.AuthorizedTTL.Duration = 5 * time.Minute
	}
	if w.UnauthorizedTTL.Duration == 0 {
		w.UnauthorizedTTL.Duration = 30 * time.Second
	}
}

func (w *webhookConfig) authorizedTTL() time.Duration {
	if w.CacheAuthorized != nil && !*w.CacheAuthorized {
		return 0
	}
	return w.AuthorizedTTL.Duration
}

func (w *webhookConfig) unauthorizedTTL() time.Duration {
	if w.CacheUnauthorized != nil && !*w.CacheUnauthorized {
		return 0
	}
	return w.UnauthorizedTTL.Duration
}

func (c *configuration) validate() field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("authorizers")
	if len(c.Authorizers) == 0 {
		return field.ErrorList{field.Required(path, "at least one authorization mode must be defined")}
	}
	types, names := map[string]bool{}, map[string]bool{}
	for i := range c.Authorizers {
		a, p := &c.Authorizers[i], path.Index(i)
		switch {
		case a.Type == ModeABAC:
			errs = append(errs, field.Invalid(p.Child("type"), a.Type, "ABAC is not supported: use RBAC"))
		case a.Type != "" && !slices.Contains(knownModes, a.Type):
			errs = append(errs, field.NotSupported(p.Child("type"), a.Type, knownModes))
		case a.Type == "":
			errs = append(errs, field.Required(p.Child("type"), ""))
		case types[a.Type] && a.Type != ModeWebhook:
			errs = append(errs, field.Duplicate(p.Child("type"), a.Type))
		}
		types[a.Type] = true
		switch {
		case a.Name == "":
			errs = append(errs, field.Required(p.Child("name"), ""))
		case names[a.Name]:
			errs = append(errs, field.Duplicate(p.Child("name"), a.Name))
		case len(validation.IsDNS1123Subdomain(a.Name)) > 0:
			errs = append(errs, field.Invalid(p.Child("name"), a.Name, "authorizer name is invalid: "+strings.Join(validation.IsDNS1123Subdomain(a.Name), ", ")))
		}
		names[a.Name] = true
		errs = append(errs, a.validateWebhook(p.Child("webhook"))...)
	}
	return errs
}

func (a *authorizerConfig) validateWebhook(p *field.Path) field.ErrorList {
	switch {
	case a.Type == ModeWebhook && a.Webhook == nil:
		return field.ErrorList{field.Required(p, "required when type=Webhook")}
	case a.Type != ModeWebhook && a.Webhook != nil:
		return field.ErrorList{field.Invalid(p, "non-null", "may only be specified when type=Webhook")}
	case a.Webhook == nil:
		return nil
	}
	w := a.Webhook
	var errs field.ErrorList
	switch t := w.Timeout.Duration; {
	case t == 0:
		errs = append(errs, field.Required(p.Child("timeout"), ""))
	case t < 0 || t > maxTimeout:
		errs = append(errs, field.Invalid(p.Child("timeout"), t.String(), "must be > 0s and <= 30s"))
	}
	for name, ttl := range map[string]time.Duration{"authorizedTTL": w.AuthorizedTTL.Duration, "unauthorizedTTL": w.UnauthorizedTTL.Duration} {
		if ttl < 0 {
			errs = append(errs, field.Invalid(p.Child(name), ttl.String(), "must be > 0s"))
		}
	}
	errs = append(errs, choice(p.Child("subjectAccessReviewVersion"), w.ReviewVersion, "v1", "v1beta1")...)
	switch v := w.MatchConditionsReviewVers; {
	case v != "" && v != "v1":
		errs = append(errs, field.NotSupported(p.Child("matchConditionSubjectAccessReviewVersion"), v, []string{"v1"}))
	case v == "" && len(w.MatchConditions) > 0:
		errs = append(errs, field.Required(p.Child("matchConditionSubjectAccessReviewVersion"), "required if match conditions are specified"))
	}
	errs = append(errs, choice(p.Child("failurePolicy"), w.FailurePolicy, policyNoOpinon, policyDeny)...)
	errs = append(errs, w.ConnectionInfo.validate(p.Child("connectionInfo"))...)
	if len(w.MatchConditions) > 64 {
		errs = append(errs, field.TooMany(p.Child("matchConditions"), len(w.MatchConditions), 64))
	}
	seen := map[string]bool{}
	for i, m := range w.MatchConditions {
		at := p.Child("matchConditions").Index(i).Child("expression")
		switch {
		case strings.TrimSpace(m.Expression) == "":
			errs = append(errs, field.Required(at, ""))
		case seen[m.Expression]:
			errs = append(errs, field.Duplicate(at, m.Expression))
		}
		seen[m.Expression] = true
	}
	return errs
}

func choice(p *field.Path, v string, of ...string) field.ErrorList {
	switch {
	case v == "":
		return field.ErrorList{field.Required(p, "")}
	case !slices.Contains(of, v):
		return field.ErrorList{field.NotSupported(p, v, of)}
	}
	return nil
}

func (c *connectionInfo) validate(p *field.Path) field.ErrorList {
	errs := choice(p.Child("type"), c.Type, fromInCluster, fromKubeConfig)
	switch {
	case c.Type == fromInCluster && c.KubeConfigFile != nil:
		errs = append(errs, field.Invalid(p.Child("kubeConfigFile"), *c.KubeConfigFile, "can only be set when type=KubeConfigFile"))
	case c.Type == fromKubeConfig && (c.KubeConfigFile == nil || *c.KubeConfigFile == ""):
		errs = append(errs, field.Required(p.Child("kubeConfigFile"), ""))
	}
	return errs
}

var errSet = errors.New("the Node and RBAC authorizers, and their presence, must not change")

// sameSet reports whether two configurations have the same authorizers apart
// from webhooks: only webhooks may be changed while the server runs.
func sameSet(a, b *configuration) error {
	plain := func(c *configuration) (out []string) {
		for i := range c.Authorizers {
			if t := c.Authorizers[i].Type; t != ModeWebhook {
				out = append(out, t)
			}
		}
		slices.Sort(out)
		return out
	}
	if x, y := plain(a), plain(b); !slices.Equal(x, y) {
		return fmt.Errorf("%w: %v became %v", errSet, x, y)
	}
	return nil
}
