// Package extender asks processes outside of the scheduler, over HTTP, to
// filter and score nodes, to judge preemption and to bind.
package extender

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/config"
	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/internal/schedule"
)

// The wire's words: fields are not renamed.
type (
	args struct {
		Pod       *corev1.Pod
		Nodes     *corev1.NodeList
		NodeNames *[]string
	}
	filterResult struct {
		Nodes                      *corev1.NodeList
		NodeNames                  *[]string
		FailedNodes                map[string]string
		FailedAndUnresolvableNodes map[string]string
		Error                      string
	}
	hostPriority struct {
		Host  string
		Score int64
	}
	bindingArgs struct {
		PodName, PodNamespace string
		PodUID                types.UID
		Node                  string
	}
	bindingResult struct{ Error string }
	metaPod       struct{ UID string }
	metaVictims   struct {
		Pods             []*metaPod
		NumPDBViolations int64
	}
	victims struct {
		Pods             []*corev1.Pod
		NumPDBViolations int64
	}
	preemptionArgs struct {
		Pod                   *corev1.Pod
		NodeNameToVictims     map[string]*victims
		NodeNameToMetaVictims map[string]*metaVictims
	}
	preemptionResult struct{ NodeNameToMetaVictims map[string]*metaVictims }
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 20

// maxPriority is an extender's highest score.
const maxPriority = 10

// Extenders of a configuration.
type Extenders struct{ list []*one }

type one struct {
	config.Extender
	http    *http.Client
	managed map[string]bool
}

// New makes the extenders; nil when there are none.
func New(list []config.Extender) (*Extenders, error) {
	if len(list) == 0 {
		return nil, nil
	}
	out := &Extenders{}
	for i := range list {
		e := &one{Extender: list[i], managed: map[string]bool{}}
		t, err := e.tls()
		if err != nil {
			return nil, fmt.Errorf("extenders[%d].tlsConfig: %w", i, err)
		}
		e.http = &http.Client{Timeout: e.HTTPTimeout.Duration, Transport: &http.Transport{TLSClientConfig: t, MaxIdleConnsPerHost: 16, Proxy: http.ProxyFromEnvironment}}
		for _, r := range e.ManagedResources {
			e.managed[r.Name] = true
		}
		out.list = append(out.list, e)
	}
	return out, nil
}

// Ignored are the resources that extenders look after alone.
func Ignored(list []config.Extender) (out []string) {
	for i := range list {
		for _, r := range list[i].ManagedResources {
			if r.IgnoredByScheduler {
				out = append(out, r.Name)
			}
		}
	}
	return out
}

func (e *one) tls() (*tls.Config, error) {
	c := e.TLSConfig
	if c == nil {
		return nil, nil
	}
	out := &tls.Config{InsecureSkipVerify: c.Insecure, ServerName: c.ServerName} // the configuration asks for it
	ca, cert, key := c.CAData, c.CertData, c.KeyData
	for _, f := range []struct {
		path string
		to   *[]byte
	}{{c.CAFile, &ca}, {c.CertFile, &cert}, {c.KeyFile, &key}} {
		if f.path == "" || len(*f.to) > 0 {
			continue
		}
		var err error
		if *f.to, err = os.ReadFile(f.path); err != nil {
			return nil, err
		}
	}
	if len(ca) > 0 {
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(ca) {
			return nil, errors.New("caFile or caData holds no certificate")
		}
	}
	if len(cert) > 0 {
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, err
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

// interested in pods that ask for a managed resource, or in all.
func (e *one) interested(p *corev1.Pod) bool {
	if len(e.managed) == 0 {
		return true
	}
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			r := &list[i].Resources
			for _, l := range []corev1.ResourceList{r.Requests, r.Limits} {
				for name := range l {
					if e.managed[string(name)] {
						return true
					}
				}
			}
		}
	}
	return false
}

// Interested implements loop.Extenders.
func (x *Extenders) Interested(p *corev1.Pod) bool {
	return slices.ContainsFunc(x.list, func(e *one) bool {
		return (e.FilterVerb != "" || e.PrioritizeVerb != "") && e.interested(p)
	})
}

func (e *one) post(ctx context.Context, verb string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	url := strings.TrimRight(e.URLPrefix, "/") + "/" + verb
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/json")
	resp, err := e.http.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("failed %v with extender at URL %v, code %v", verb, url, resp.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("answer of extender %s: %w", url, err)
	}
	return nil
}

func (e *one) args(p *corev1.Pod, nodes []schedule.Candidate) *args {
	a := &args{Pod: p}
	if e.NodeCacheCapable {
		names := make([]string, len(nodes))
		for i := range nodes {
			names[i] = nodes[i].Node.Name
		}
		a.NodeNames = &names
		return a
	}
	a.Nodes = &corev1.NodeList{}
	for i := range nodes {
		a.Nodes.Items = append(a.Nodes.Items, *nodes[i].Node.Obj)
	}
	return a
}

// Extend implements loop.Extenders: each extender filters what the one before
// has left, then all score.
func (x *Extenders) Extend(ctx context.Context, p *corev1.Pod, nodes []schedule.Candidate) ([]schedule.Candidate, map[string]*framework.Status, error) {
	failed := map[string]*framework.Status{}
	for _, e := range x.list {
		if e.FilterVerb == "" || !e.interested(p) || len(nodes) == 0 {
			continue
		}
		left, err := e.filter(ctx, p, nodes, failed)
		switch {
		case err == nil:
			nodes = left
		case !e.Ignorable:
			return nil, nil, err
		}
	}
	for _, e := range x.list {
		if e.PrioritizeVerb == "" || !e.interested(p) || len(nodes) < 2 {
			continue
		}
		var list []hostPriority
		if err := e.post(ctx, e.PrioritizeVerb, e.args(p, nodes), &list); err != nil {
			continue // scores are a matter of preference
		}
		by := map[string]int64{}
		for _, h := range list {
			by[h.Host] = h.Score
		}
		for i := range nodes {
			nodes[i].Score += by[nodes[i].Node.Name] * e.Weight * (framework.MaxScore / maxPriority)
		}
	}
	return nodes, failed, nil
}

func (e *one) filter(ctx context.Context, p *corev1.Pod, nodes []schedule.Candidate, failed map[string]*framework.Status) ([]schedule.Candidate, error) {
	var r filterResult
	if err := e.post(ctx, e.FilterVerb, e.args(p, nodes), &r); err != nil {
		return nil, err
	}
	if r.Error != "" {
		return nil, errors.New(r.Error)
	}
	keep := map[string]bool{}
	switch {
	case e.NodeCacheCapable && r.NodeNames != nil:
		for _, n := range *r.NodeNames {
			keep[n] = true
		}
	case r.Nodes != nil:
		for i := range r.Nodes.Items {
			keep[r.Nodes.Items[i].Name] = true
		}
	}
	for name, why := range r.FailedNodes {
		failed[name] = framework.NewStatus(e.URLPrefix, framework.Unschedulable, why)
	}
	for name, why := range r.FailedAndUnresolvableNodes {
		failed[name] = framework.NewStatus(e.URLPrefix, framework.Unresolvable, why)
	}
	var left []schedule.Candidate
	for _, n := range nodes {
		if keep[n.Node.Name] {
			left = append(left, n)
		} else if failed[n.Node.Name] == nil {
			failed[n.Node.Name] = framework.NewStatus(e.URLPrefix, framework.Unschedulable, "node(s) rejected by extender "+e.URLPrefix)
		}
	}
	return left, nil
}

func (x *Extenders) binder(p *corev1.Pod) *one {
	for _, e := range x.list {
		if e.BindVerb != "" && e.interested(p) {
			return e
		}
	}
	return nil
}

// Binds implements loop.Extenders.
func (x *Extenders) Binds(p *corev1.Pod) bool { return x.binder(p) != nil }

// Bind implements loop.Extenders.
func (x *Extenders) Bind(ctx context.Context, p *corev1.Pod, node string) error {
	e := x.binder(p)
	var r bindingResult
	if err := e.post(ctx, e.BindVerb, &bindingArgs{PodName: p.Name, PodNamespace: p.Namespace, PodUID: p.UID, Node: node}, &r); err != nil {
		return err
	}
	if r.Error != "" {
		return errors.New(r.Error)
	}
	return nil
}

// Preempt lets extenders take candidates for preemption, or victims, away.
func (x *Extenders) Preempt(ctx context.Context, p *corev1.Pod, candidates map[string][]*cache.Pod) (map[string][]*cache.Pod, error) {
	for _, e := range x.list {
		if e.PreemptVerb == "" || !e.interested(p) || len(candidates) == 0 {
			continue
		}
		left, err := e.preempt(ctx, p, candidates)
		switch {
		case err == nil:
			candidates = left
		case !e.Ignorable:
			return nil, err
		}
	}
	return candidates, nil
}

func (e *one) preempt(ctx context.Context, p *corev1.Pod, candidates map[string][]*cache.Pod) (map[string][]*cache.Pod, error) {
	in := &preemptionArgs{Pod: p}
	byUID := map[string]*cache.Pod{}
	in.NodeNameToVictims, in.NodeNameToMetaVictims = map[string]*victims{}, map[string]*metaVictims{}
	for node, list := range candidates {
		v, m := &victims{}, &metaVictims{}
		for _, o := range list {
			byUID[string(o.UID)] = o
			v.Pods = append(v.Pods, o.Obj)
			m.Pods = append(m.Pods, &metaPod{UID: string(o.UID)})
		}
		in.NodeNameToVictims[node], in.NodeNameToMetaVictims[node] = v, m
	}
	if e.NodeCacheCapable {
		in.NodeNameToVictims = nil
	} else {
		in.NodeNameToMetaVictims = nil
	}
	var r preemptionResult
	if err := e.post(ctx, e.PreemptVerb, in, &r); err != nil {
		return nil, err
	}
	out := map[string][]*cache.Pod{}
	for _, node := range slices.Sorted(maps.Keys(r.NodeNameToMetaVictims)) {
		if _, ok := candidates[node]; !ok {
			return nil, fmt.Errorf("extender %s: preempts on node %q, which is no candidate", e.URLPrefix, node)
		}
		list := []*cache.Pod{}
		for _, m := range r.NodeNameToMetaVictims[node].Pods {
			o := byUID[m.UID]
			if o == nil {
				return nil, fmt.Errorf("extender %s: pod %s, a victim on node %q, is not known", e.URLPrefix, m.UID, node)
			}
			list = append(list, o)
		}
		out[node] = list
	}
	return out, nil
}
