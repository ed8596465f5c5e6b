package setup

import (
	"context"
	"fmt"

	"github.com/google/cel-go/cel"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/authz/webhook"
	"xebec.dev/apiserver/internal/expression"
	"xebec.dev/apiserver/internal/kubeconfig"
	"xebec.dev/apiserver/internal/reload"
	"xebec.dev/apiserver/internal/request"
)

func (b *builder) webhookFromFlags(o *Options) (authz.Authorizer, error) {
	remote, err := kubeconfig.Load(o.WebhookConfigFile, b.Dial)
	if err != nil {
		return nil, err
	}
	return webhook.New(remote, webhook.Options{Version: o.WebhookVersion, AuthorizedTTL: o.AuthorizedTTL, UnauthorizedTTL: o.UnauthorizedTTL,
		Name: "webhook", Metrics: webhook.NewMetrics(b.Metrics)}), nil
}

// reloading is a chain that a file describes.
type reloading struct {
	chain *reload.File[authz.Union]
}

func (z *reloading) Authorize(ctx context.Context, u *request.User, a *request.Info) (authz.Decision, string, error) {
	return z.chain.Get().Authorize(ctx, u, a)
}

func (z *reloading) RulesFor(ctx context.Context, u *request.User, namespace string) (authz.Rules, error) {
	return z.chain.Get().RulesFor(ctx, u, namespace)
}

func (b *builder) fromFile(path string) (authz.Authorizer, error) {
	b.webhooks = webhook.NewMetrics(b.Metrics)
	var first *configuration
	parse := func(content []byte) (authz.Union, error) {
		c, err := parseConfiguration(content)
		if err != nil {
			return nil, fmt.Errorf("authorization config %s: %w", path, err)
		}
		if first == nil {
			first = c
		} else if err := sameSet(first, c); err != nil {
			return nil, err
		}
		return b.chain(c)
	}
	f, err := reload.Open(path, parse, b.OnError)
	if err != nil {
		return nil, err
	}
	return &reloading{f.Counted(reload.NewCounts("authorization", b.Metrics))}, nil
}

func (b *builder) chain(c *configuration) (authz.Union, error) {
	out := authz.Union{authz.Masters{}}
	for i := range c.Authorizers {
		a := &c.Authorizers[i]
		var z authz.Authorizer
		var err error
		if a.Type == ModeWebhook {
			z, err = b.fromConfig(a.Name, a.Webhook, field.NewPath("authorizers").Index(i).Child("webhook"))
		} else {
			z, err = b.plain(a.Type)
		}
		if err != nil {
			return nil, fmt.Errorf("authorizer %q: %w", a.Name, err)
		}
		out = append(out, b.metrics.Part(z, a.Type, a.Name))
	}
	return out, nil
}

func (b *builder) fromConfig(name string, w *webhookConfig, p *field.Path) (authz.Authorizer, error) {
	conditions, errs := compile(w.MatchConditions, p.Child("matchConditions"))
	if len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	var remote *kubeconfig.Remote
	var err error
	if w.ConnectionInfo.Type == fromInCluster {
		remote, err = kubeconfig.InCluster()
	} else {
		remote, err = kubeconfig.Load(*w.ConnectionInfo.KubeConfigFile, b.Dial)
	}
	if err != nil {
		return nil, err
	}
	return webhook.New(remote, webhook.Options{
		Version: w.ReviewVersion, AuthorizedTTL: w.authorizedTTL(), UnauthorizedTTL: w.unauthorizedTTL(),
		Timeout: w.Timeout.Duration, DenyOnFailure: w.FailurePolicy == policyDeny, Conditions: conditions,
		Name: name, Metrics: b.webhooks,
	}), nil
}

var (
	selectorStruct = func(name string) *expression.Struct {
		requirement := &expression.Struct{Name: "kubernetes." + name + "SelectorRequirement", Fields: map[string]*cel.Type{
			"key": cel.StringType, "operator": cel.StringType, "values": cel.ListType(cel.StringType),
		}}
		return &expression.Struct{Name: "kubernetes." + name + "SelectorAttributes", Fields: map[string]*cel.Type{
			"rawSelector": cel.StringType, "requirements": cel.ListType(requirement.Type()),
		}, Nested: []*expression.Struct{requirement}}
	}
	fieldSelector, labelSelector = selectorStruct("Field"), selectorStruct("Label")

	resourceAttributes = &expression.Struct{Name: "kubernetes.ResourceAttributes", Fields: map[string]*cel.Type{
		"namespace": cel.StringType, "verb": cel.StringType, "group": cel.StringType, "version": cel.StringType,
		"resource": cel.StringType, "subresource": cel.StringType, "name": cel.StringType,
		"fieldSelector": fieldSelector.Type(), "labelSelector": labelSelector.Type(),
	}, Nested: []*expression.Struct{fieldSelector, labelSelector}}
	nonResourceAttributes = &expression.Struct{Name: "kubernetes.NonResourceAttributes", Fields: map[string]*cel.Type{
		"path": cel.StringType, "verb": cel.StringType,
	}}
	reviewSpec = &expression.Struct{Name: "kubernetes.SubjectAccessReviewSpec", Fields: map[string]*cel.Type{
		"resourceAttributes": resourceAttributes.Type(), "nonResourceAttributes": nonResourceAttributes.Type(),
		"user": cel.StringType, "groups": cel.ListType(cel.StringType), "uid": cel.StringType,
		"extra": cel.MapType(cel.StringType, cel.ListType(cel.StringType)),
	}, Nested: []*expression.Struct{resourceAttributes, nonResourceAttributes}}

	matchScope = &expression.Scope{
		Variables: map[string]*cel.Type{"request": reviewSpec.Type()},
		Structs:   []*expression.Struct{reviewSpec},
	}
)

func compile(conditions []matchCondition, p *field.Path) ([]webhook.Condition, field.ErrorList) {
	var out []webhook.Condition
	var errs field.ErrorList
	for i, c := range conditions {
		program, err := matchScope.Compile(c.Expression, cel.BoolType)
		if err != nil {
			errs = append(errs, field.Invalid(p.Index(i).Child("expression"), c.Expression, err.Error()))
			continue
		}
		out = append(out, func(ctx context.Context, spec *authorizationv1.SubjectAccessReviewSpec) (bool, error) {
			values, err := celSpec(spec)
			if err != nil {
				return false, err
			}
			return program.EvalBool(ctx, map[string]any{"request": values})
		})
	}
	return out, errs
}

// celSpec is a spec as expressions see it: strings are there also when empty,
// attributes only when the review has them.
func celSpec(spec *authorizationv1.SubjectAccessReviewSpec) (map[string]any, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(spec)
	if err != nil {
		return nil, err
	}
	fill := func(m map[string]any, names ...string) {
		for _, n := range names {
			if _, ok := m[n]; !ok {
				m[n] = ""
			}
		}
	}
	fill(m, "user", "uid")
	if _, ok := m["groups"]; !ok {
		m["groups"] = []any{}
	}
	if r, ok := m["resourceAttributes"].(map[string]any); ok {
		fill(r, "namespace", "verb", "group", "version", "resource", "subresource", "name")
	}
	if n, ok := m["nonResourceAttributes"].(map[string]any); ok {
		fill(n, "path", "verb")
	}
	return m, nil
}
