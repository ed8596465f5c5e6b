package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/admission/defaulttolerationseconds"
	"xebec.dev/apiserver/internal/admission/namespacelifecycle"
	"xebec.dev/apiserver/internal/admission/priority"
	"xebec.dev/apiserver/internal/admission/storageobjectinuse"
	"xebec.dev/apiserver/internal/admission/taintnodes"
	"xebec.dev/apiserver/internal/authz/rbac"
	authzsetup "xebec.dev/apiserver/internal/authz/setup"
	policy "xebec.dev/apiserver/internal/bootstrap/rbac"
	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/request"
	"xebec.dev/apiserver/internal/rest"
)

// address is where this server tells clients it is.
func (s *Server) address() string {
	host := s.cfg.ExternalHostname
	if host == "" {
		host = s.cfg.AdvertiseAddress.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(s.cfg.SecurePort))
}

// admission is the chain of plugins in the order Kubernetes runs them.
func (s *Server) admission(permissions *authzsetup.Result) (*admission.Chain, error) {
	c := s.cfg
	all := []admission.Plugin{
		namespacelifecycle.New(s.store, s.store, s.resource("", "namespaces")),
		taintnodes.Plugin{},
		priority.New(s.store, s.resource("scheduling.k8s.io", "priorityclasses")),
		defaulttolerationseconds.Plugin{NotReady: c.NotReadySeconds, Unreachable: c.UnreachableSeconds},
		storageobjectinuse.Plugin{},
		rbac.NewGuard(permissions.Rules, permissions),
	}
	var on []admission.Plugin
	for _, p := range all {
		if !slices.Contains(c.DisablePlugins, p.Name()) {
			on = append(on, p)
		}
	}
	return admission.NewChain(on...), nil
}

// resource finds a resource that the table is known to have.
func (s *Server) resource(group, plural string) *scheme.Resource {
	r, ok := s.scheme.Resource(group, plural)
	if !ok {
		panic(fmt.Sprintf("the table has no %s in group %q", plural, group))
	}
	return r
}

func (s *Server) resourceHooks() map[*scheme.Resource]*registry.Hook {
	return map[*scheme.Resource]*registry.Hook{
		s.resource("", "namespaces"): registry.NamespaceHook(),
	}
}

// canCreate asks whether an update may create.
func (s *Server) canCreate(ctx context.Context, t registry.Target) error {
	r := request.From(ctx)
	i := request.Info{
		IsResource: true, Verb: "create", Group: t.At.Group, Version: t.At.Version,
		Namespace: t.Namespace, Resource: t.Plural, Name: t.Name,
	}
	return s.pipeline.Authorize(ctx, &r.User, &i)
}

// connect reaches kubelets and proxied objects.
func (s *Server) connect(w http.ResponseWriter, r *http.Request, t registry.Target, _ *request.Info) {
	rest.Fail(w, r, apierrors.NewServiceUnavailable("no node can be reached"))
}

// bootstrapRoles brings the default policy up to date.
func (s *Server) bootstrapRoles(ctx context.Context) error {
	for _, want := range policy.Objects() {
		if err := s.maker.Policy(ctx, want); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) bootstrapServiceCIDR(context.Context) error        { return nil }
func (s *Server) bootstrapKubernetesService(context.Context) error  { return nil }
func (s *Server) bootstrapAuthenticationInfo(context.Context) error { return nil }
func (s *Server) bootstrapFlowControl(context.Context) error        { return nil }
func (s *Server) repairServices(context.Context) error              { return nil }
func (s *Server) keep(ctx context.Context) error                    { <-ctx.Done(); return ctx.Err() }
