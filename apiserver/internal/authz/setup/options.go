// Package setup makes the authorizer that kube-apiserver's flags describe.
package setup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/authz/node"
	"xebec.dev/apiserver/internal/authz/rbac"
	"xebec.dev/apiserver/internal/authz/webhook"
	"xebec.dev/apiserver/internal/egress"
	"xebec.dev/apiserver/internal/request"
	"xebec.dev/apiserver/internal/storage"
)

// The authorization modes.
const (
	ModeNode        = "Node"
	ModeRBAC        = "RBAC"
	ModeWebhook     = "Webhook"
	ModeABAC        = "ABAC"
	ModeAlwaysAllow = "AlwaysAllow"
	ModeAlwaysDeny  = "AlwaysDeny"
)

var knownModes = []string{ModeNode, ModeRBAC, ModeWebhook, ModeAlwaysAllow, ModeAlwaysDeny}

// Options are the flags.
type Options struct {
	Modes             []string
	ConfigFile        string
	PolicyFile        string
	WebhookConfigFile string
	WebhookVersion    string
	AuthorizedTTL     time.Duration
	UnauthorizedTTL   time.Duration
	modesGiven        func() bool
}

// Flags registers the flags onto o's fields, with their defaults.
func (o *Options) Flags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.Modes, "authorization-mode", []string{ModeNode, ModeRBAC}, "Ordered list of authorization modes, of "+strings.Join(knownModes, ", ")+". Not together with --authorization-config.")
	f.StringVar(&o.ConfigFile, "authorization-config", "", "File with an AuthorizationConfiguration: the chain of authorizers. It is read again when it changes.")
	f.StringVar(&o.PolicyFile, "authorization-policy-file", "", "File with the policy of the mode ABAC, which this server does not have.")
	f.StringVar(&o.WebhookConfigFile, "authorization-webhook-config-file", "", "Kubeconfig of the service that the mode Webhook asks.")
	f.StringVar(&o.WebhookVersion, "authorization-webhook-version", "v1beta1", "Version of the SubjectAccessReviews sent to the webhook: v1 or v1beta1.")
	f.DurationVar(&o.AuthorizedTTL, "authorization-webhook-cache-authorized-ttl", 5*time.Minute, "How long to remember that the webhook allowed a request.")
	f.DurationVar(&o.UnauthorizedTTL, "authorization-webhook-cache-unauthorized-ttl", 30*time.Second, "How long to remember that the webhook did not allow a request.")
	o.modesGiven = func() bool { return f.Changed("authorization-mode") }
}

// Validate finds options that do not go together.
func (o *Options) Validate() error {
	var errs []error
	if o.ConfigFile != "" {
		if o.modesGiven != nil && o.modesGiven() {
			errs = append(errs, errors.New("--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined"))
		}
		if o.WebhookConfigFile != "" {
			errs = append(errs, errors.New("--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined"))
		}
		return errors.Join(errs...)
	}
	if len(o.Modes) == 0 {
		errs = append(errs, errors.New("at least one authorization-mode must be passed"))
	}
	for i, m := range o.Modes {
		switch {
		case m == ModeABAC:
			errs = append(errs, errors.New("authorization mode ABAC is not supported: use RBAC"))
		case !slices.Contains(knownModes, m):
			errs = append(errs, fmt.Errorf("authorization-mode %q is not a valid mode", m))
		case slices.Contains(o.Modes[:i], m):
			errs = append(errs, fmt.Errorf("authorization-mode %q has mode specified more than once", o.Modes))
		}
	}
	if slices.Contains(o.Modes, ModeWebhook) != (o.WebhookConfigFile != "") {
		if o.WebhookConfigFile == "" {
			errs = append(errs, errors.New("authorization-mode Webhook's authorization config file not passed"))
		} else {
			errs = append(errs, errors.New("cannot specify --authorization-webhook-config-file without mode Webhook"))
		}
	}
	if o.WebhookVersion != "v1" && o.WebhookVersion != "v1beta1" {
		errs = append(errs, fmt.Errorf("--authorization-webhook-version %q is not v1 or v1beta1", o.WebhookVersion))
	}
	return errors.Join(errs...)
}

// Deps are what authorizers read and whom they tell.
type Deps struct {
	Reader storage.Reader
	Scheme *scheme.Scheme
	// OnError is told of trouble with files that are read again.
	OnError func(error)
	// Dial connects to webhooks; nil is directly.
	Dial egress.Dial
	// Metrics, when set, takes the metrics.
	Metrics prometheus.Registerer
}

// Result is the authorizer and the part of it that other things need.
type Result struct {
	authz.Authorizer
	// Rules resolves what users hold, also when RBAC is not a mode: it guards
	// writes of roles and bindings.
	Rules *rbac.Authorizer
}

// RulesFor implements authz.Resolver.
func (r *Result) RulesFor(ctx context.Context, u *request.User, namespace string) (authz.Rules, error) {
	resolver, ok := r.Authorizer.(authz.Resolver)
	if !ok {
		return authz.Rules{Incomplete: true}, errors.New("the authorizer cannot list rules")
	}
	return resolver.RulesFor(ctx, u, namespace)
}

var _ authz.Resolver = (*Result)(nil)

// Build makes the chain: masters, then the modes in order.
func Build(o *Options, d Deps) (*Result, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	b := &builder{Deps: d, rules: rbac.New(d.Reader, d.Scheme), metrics: authz.NewMetrics(d.Metrics)}
	if d.OnError == nil {
		b.OnError = func(error) {}
	}
	if o.ConfigFile != "" {
		z, err := b.fromFile(o.ConfigFile)
		if err != nil {
			return nil, err
		}
		return &Result{b.metrics.Whole(z), b.rules}, nil
	}
	chain := authz.Union{authz.Masters{}}
	for _, m := range o.Modes {
		z, err := b.mode(m, o)
		if err != nil {
			return nil, err
		}
		chain = append(chain, b.metrics.Part(z, m, strings.ToLower(m)))
	}
	return &Result{b.metrics.Whole(chain), b.rules}, nil
}

type builder struct {
	Deps
	rules   *rbac.Authorizer
	metrics *authz.Metrics
	// webhooks measures those of a file.
	webhooks *webhook.Metrics
}

func (b *builder) mode(m string, o *Options) (authz.Authorizer, error) {
	switch m {
	case ModeWebhook:
		return b.webhookFromFlags(o)
	default:
		return b.plain(m)
	}
}

// plain makes the modes that need no options.
func (b *builder) plain(m string) (authz.Authorizer, error) {
	switch m {
	case ModeNode:
		return node.New(b.Reader, b.Scheme), nil
	case ModeRBAC:
		return b.rules, nil
	case ModeAlwaysAllow:
		return authz.AlwaysAllow{}, nil
	case ModeAlwaysDeny:
		return authz.AlwaysDeny{}, nil
	}
	return nil, fmt.Errorf("unknown authorization mode %q", m)
}
