package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"

	"xebec.dev/client"
)

// right is what a request needs: the verb on one of the node's subresources,
// the first that is granted.
type right struct {
	verb         string
	subresources []string
}

// rights says what a request needs, by its method and path alone.
func rights(method, path string) right {
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	r := right{verb: verb(method), subresources: []string{"proxy"}}
	switch first {
	case "exec", "attach", "portForward", "run":
		// Running something is a creation, whatever the method; a GET that
		// becomes a stream must not pass for a read.
		r.verb = "create"
	case "stats":
		r.subresources = []string{"stats"}
	case "metrics":
		r.subresources = []string{"metrics"}
	case "logs":
		r.subresources = []string{"log"}
	case "checkpoint":
		r.subresources = []string{"checkpoint"}
	case "pods", "runningpods":
		r.subresources = []string{"pods", "proxy"}
	case "healthz":
		r.subresources = []string{"healthz", "proxy"}
	case "statusz":
		r.subresources = []string{"statusz", "proxy"}
	case "configz", "flagz":
		if rest == "" {
			r.subresources = []string{"configz", "proxy"}
		}
	}
	return r
}

func verb(method string) string {
	switch method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		return "delete"
	}
	return "get"
}

// authorizer asks the API server who may do what with this node.
type authorizer struct {
	o    *Options
	kept answers[bool]
}

func (z *authorizer) allowed(ctx context.Context, u *user, r right) (bool, error) {
	if z.o.AlwaysAllow || slices.Contains(u.groups, masters) {
		return true, nil
	}
	for _, sub := range r.subresources {
		ok, err := z.one(ctx, u, r.verb, sub)
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func (z *authorizer) one(ctx context.Context, u *user, verb, subresource string) (bool, error) {
	if z.o.API == nil {
		return false, nil
	}
	key := digest(u.name, u.uid, u.groups, u.extra, verb, subresource)
	if ok, known := z.kept.get(key); known {
		return ok, nil
	}
	spec := authorizationv1.SubjectAccessReviewSpec{
		User: u.name, UID: u.uid, Groups: u.groups, Extra: map[string]authorizationv1.ExtraValue{},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: verb, Version: "v1", Resource: "nodes", Subresource: subresource, Name: z.o.Node,
		},
	}
	for k, v := range u.extra {
		spec.Extra[k] = v
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTime)
	defer cancel()
	res, err := client.Create(ctx, z.o.API, &authorizationv1.SubjectAccessReview{Spec: spec})
	if err != nil {
		return false, fmt.Errorf("review access: %w", err)
	}
	ttl := or(z.o.DenyTTL, denyTTL)
	if res.Status.Allowed {
		ttl = or(z.o.AllowTTL, allowTTL)
	}
	z.kept.put(key, res.Status.Allowed, ttl)
	return res.Status.Allowed, nil
}
