package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/admission/claimstatus"
	"xebec.dev/apiserver/internal/admission/podcertificate"
	admissionsetup "xebec.dev/apiserver/internal/admission/setup"
	"xebec.dev/apiserver/internal/admission/systemclass"
	"xebec.dev/apiserver/internal/authz/rbac"
	authzsetup "xebec.dev/apiserver/internal/authz/setup"
	"xebec.dev/apiserver/internal/bootstrap"
	policy "xebec.dev/apiserver/internal/bootstrap/rbac"
	"xebec.dev/apiserver/internal/egress"
	"xebec.dev/apiserver/internal/nodeproxy"
	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/request"
	"xebec.dev/apiserver/internal/rest"
	"xebec.dev/apiserver/internal/serviceip"
)

// address is where this server tells clients it is.
func (s *Server) address() string {
	host := s.cfg.ExternalHostname
	if host == "" {
		host = s.cfg.AdvertiseAddress.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(s.cfg.SecurePort))
}

// admission is the chain of plugins that the flags ask for.
func (s *Server) admission(permissions *authzsetup.Result) (*admission.Chain, error) {
	c := s.cfg
	return admissionsetup.Build(&admissionsetup.Options{
		Enable: c.EnablePlugins, Disable: c.DisablePlugins, ConfigFile: c.AdmissionConfig,
		NotReadySeconds: c.NotReadySeconds, UnreachableSeconds: c.UnreachableSeconds,
	}, admissionsetup.Deps{
		Reader: s.store, Store: s.store, Authorizer: permissions, Scheme: s.scheme,
		Create: func(ctx context.Context, r *scheme.Resource, obj scheme.Object) error {
			return s.maker.CreateObject(ctx, r, obj)
		},
		Always: []admission.Plugin{systemclass.Plugin{}, rbac.NewGuard(permissions.Rules, permissions), &claimstatus.Plugin{Authorizer: permissions}, &podcertificate.Plugin{Authorizer: permissions}},
	})
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
		s.resource("", "services"):   s.services.Registry(),

		s.resource("resource.k8s.io", "resourceclaims"):         registry.ClaimHook(s.store, s.resource("", "namespaces")),
		s.resource("resource.k8s.io", "resourceclaimtemplates"): registry.ClaimHook(s.store, s.resource("", "namespaces")),
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

// nodeProxy reaches kubelets and proxied objects.
func (s *Server) nodeProxy(chain *admission.Chain) (*nodeproxy.Proxy, error) {
	k := &s.cfg.Kubelet
	return nodeproxy.New(nodeproxy.Options{
		Store: s.store, Admission: chain, Fail: rest.Fail, Log: s.log.Named("nodeproxy"),
		Pods: s.resource("", "pods"), Nodes: s.resource("", "nodes"), Services: s.resource("", "services"),
		Slices: s.resource("discovery.k8s.io", "endpointslices"),
		CAFile: k.CA, CertFile: k.Cert, KeyFile: k.Key, AddressTypes: k.AddressTypes, Timeout: k.Timeout,
		Dial: s.egress.To(egress.Cluster),
	})
}

// bootstrapRoles brings the default policy up to date.
func (s *Server) bootstrapRoles(ctx context.Context) error {
	return bootstrap.Together(ctx, policy.Objects(), s.maker.Policy)
}

func (s *Server) bootstrapAuthenticationInfo(ctx context.Context) error {
	data, err := s.cfg.Authn.AuthenticationInfo()
	if err != nil {
		return err
	}
	return s.maker.AuthenticationInfo(ctx, data)
}

// cluster is what the kubernetes Service is made of.
func (s *Server) cluster() *bootstrap.Cluster {
	c := &bootstrap.Cluster{
		Prolong: s.store.Prolong,
		Maker:   s.maker, Address: s.cfg.AdvertiseAddress, Port: int32(s.cfg.SecurePort),
		ServiceIP: firstAddress(s.cfg.ServiceCIDRs[0]), Leased: s.cfg.EndpointReconciler != "none",
	}
	for _, n := range s.cfg.ServiceCIDRs {
		c.CIDRs = append(c.CIDRs, n.String())
	}
	return c
}

// serviceHook allocates addresses and ports of services.
func (s *Server) serviceHook() *serviceip.Hook {
	log := s.log.Named("serviceip")
	h := &serviceip.Hook{
		Addresses: &serviceip.Addresses{
			Reader: s.store, Store: s.store, Writer: s.maker, Log: log,
			IPs: s.resource("networking.k8s.io", "ipaddresses"), CIDRs: s.resource("networking.k8s.io", "servicecidrs"),
		},
		Ports: &serviceip.Ports{Store: s.store, First: int32(s.cfg.NodePorts.First), Last: int32(s.cfg.NodePorts.Last), Log: log},
	}
	for _, n := range s.cfg.ServiceCIDRs {
		family := corev1.IPv6Protocol
		if n.IP.To4() != nil {
			family = corev1.IPv4Protocol
		}
		h.Families = append(h.Families, family)
		if p, err := netip.ParsePrefix(n.String()); err == nil {
			h.Addresses.Default = append(h.Addresses.Default, p)
		}
	}
	return h
}

func (s *Server) repairServices(ctx context.Context) error {
	var err error
	s.orphans, err = s.services.Repair(ctx, s.resource("", "services"), s.orphans)
	return err
}

// tokenUsed notes in a Secret that its token was used today, beside the
// request that used it.
func (s *Server) tokenUsed(namespace, secret string) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.RequestTimeout)
		defer cancel()
		if err := s.maker.LegacyTokenUsed(ctx, namespace, secret); err != nil {
			s.log.Warn("the day on which a token was used could not be noted", zap.String("namespace", namespace), zap.String("name", secret), zap.Error(err))
		}
	}()
}

// repairEvery is how often addresses and ports are compared with the services,
// and the server's identity lease, of an hour, is renewed.
const repairEvery = 3 * time.Minute

// leaveTime is how long a server that stops may take to say so to the others.
const leaveTime = 2 * time.Second

// keep does what goes on while the server runs: its lease in the kubernetes
// Service, the repair of addresses, what must not be deleted.
func (s *Server) keep(ctx context.Context) error {
	s.keeping.Store(true)
	defer close(s.left)
	c := s.cluster()
	renew, repair := time.NewTicker(bootstrap.RenewEvery), time.NewTicker(repairEvery)
	defer renew.Stop()
	defer repair.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.drain:
			leave, cancel := context.WithTimeout(ctx, leaveTime)
			defer cancel()
			return c.Leave(leave)
		case <-renew.C:
			if s.cfg.EndpointReconciler != "none" {
				err = c.Service(ctx)
			}
			if err == nil {
				err = s.maker.Namespaces(ctx)
			}
		case <-repair.C:
			err = errors.Join(s.repairServices(ctx), s.lease.Renew(ctx), s.lease.Collect(ctx))
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("upkeep failed and is tried again", zap.Error(err))
		}
	}
}
