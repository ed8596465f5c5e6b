package encode

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Endpoint says what an endpoint can answer with.
type Endpoint struct {
	// Collection endpoints name the watch types among what they offer.
	Collection bool
	// Watch is a request for a stream.
	Watch bool
	// Transforms allows Table and PartialObjectMetadata.
	Transforms bool
	// NoProtobuf is for custom resources: only their metadata has a protobuf form.
	NoProtobuf bool
	// Discovery allows the aggregated discovery document.
	Discovery bool
	// Unrouted endpoints are not behind Kubernetes' router (/apis), which has
	// a text of its own for what it refuses.
	Unrouted bool
}

// offer is a media type an endpoint has.
type offer struct {
	media   Media
	sub     string
	streams bool
}

var offers = []offer{{JSON, "json", true}, {YAML, "yaml", false}, {Protobuf, "vnd.kubernetes.protobuf", true}}

// Negotiate chooses the format of a successful answer from an Accept header.
// The error is a 406 Status.
//
// Kubernetes decides twice, and the two texts differ: its router compares
// media types to the letter, without parameters and without type/*; then the
// serializers are chosen by quality and parameters.
func Negotiate(accept string, e Endpoint) (Format, error) {
	if !e.Unrouted && !routed(accept, e) {
		return Format{}, notRouted(e)
	}
	f, ok := choose(accept, e)
	if !ok {
		return Format{}, NotAcceptable("only the following media types are accepted: " + strings.Join(acceptable(e), ", "))
	}
	if e.Watch {
		if f.Media == YAML {
			return Format{}, NotAcceptable("only the following media types are accepted: " + strings.Join(acceptable(e), ", "))
		}
		f.Stream = true
	}
	return f, nil
}

// NegotiateError chooses the format of an error. It always finds one: plain
// indented JSON for clients that accept nothing we have.
func NegotiateError(accept string) Format {
	f, ok := choose(accept, Endpoint{})
	if !ok {
		return Format{Pretty: true}
	}
	return f
}

// NotAcceptable is the 406 Status with a message.
func NotAcceptable(message string) *apierrors.StatusError {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotAcceptable,
		Reason: metav1.StatusReasonNotAcceptable, Message: message,
	}}
}

func notRouted(e Endpoint) error {
	err := NotAcceptable("406: Not Acceptable\n\nAvailable representations: " + strings.Join(routes(e), ", "))
	err.ErrStatus.Details = &metav1.StatusDetails{}
	return err
}

func routes(e Endpoint) []string {
	types := []string{TypeJSON, TypeYAML, TypeProtobuf}
	if e.Collection || e.Watch {
		types = append(types, TypeJSON+";stream=watch", TypeProtobuf+";stream=watch")
	}
	return types
}

func acceptable(e Endpoint) []string {
	var types []string
	for _, o := range offers {
		switch {
		case e.Watch && o.streams:
			types = append(types, "application/"+o.sub+";stream=watch")
		case !e.Watch:
			types = append(types, "application/"+o.sub)
		}
	}
	return types
}

func routed(accept string, e Endpoint) bool {
	if accept == "" {
		return true
	}
	types := routes(e)
	for part := range strings.SplitSeq(accept, ",") {
		if i := strings.IndexByte(part, ';'); i >= 0 {
			part = part[:i]
		}
		part = strings.TrimSpace(part)
		if part == "*/*" || slices.Contains(types, part) {
			return true
		}
	}
	return false
}

// clause is one alternative of an Accept header.
type clause struct {
	typ, sub string
	q        float64
	params   [][2]string
}

func choose(accept string, e Endpoint) (Format, bool) {
	if accept == "" {
		return Format{}, true
	}
	for _, c := range parseAccept(accept) {
		for _, o := range offers {
			if !(c.typ == "*" && c.sub == "*") && !(c.typ == "application" && (c.sub == "*" || c.sub == o.sub)) {
				continue
			}
			if f, ok := c.format(o, e); ok {
				return f, true
			}
		}
	}
	return Format{}, false
}

func (c clause) format(o offer, e Endpoint) (Format, bool) {
	f := Format{Media: o.media}
	var as, group, version string
	for _, p := range c.params {
		switch p[0] {
		case "as":
			as = p[1]
		case "g":
			group = p[1]
		case "v":
			version = p[1]
		case "pretty":
			f.Pretty = p[1] == "1"
		case "stream":
			if p[1] != "" && (!o.streams || p[1] != "watch") {
				return f, false
			}
		case "sv":
			if p[1] != "" {
				return f, false
			}
		}
	}
	if as == "" && group == "" && version == "" {
		return f, !(o.media == Protobuf && e.NoProtobuf)
	}
	if e.Discovery && as == "APIGroupDiscoveryList" && group == "apidiscovery.k8s.io" && version == "v2" {
		f.Shape = Discovery
		return f, o.media != YAML
	}
	if !e.Transforms || group != "meta.k8s.io" || (version != "v1" && version != "v1beta1") {
		return f, false
	}
	f.Beta = version == "v1beta1"
	switch as {
	case "Table":
		f.Shape = Table
		return f, o.media != Protobuf
	case "PartialObjectMetadata":
		f.Shape = Partial
		return f, true
	case "PartialObjectMetadataList":
		f.Shape = PartialList
		return f, true
	}
	return f, false
}

// parseAccept reads the alternatives, best first.
func parseAccept(accept string) []clause {
	var clauses []clause
	for part := range strings.SplitSeq(accept, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if c, ok := parseClause(part); ok {
			clauses = append(clauses, c)
		}
	}
	slices.SortStableFunc(clauses, func(a, b clause) int {
		switch {
		case a.q != b.q:
			return sign(a.q > b.q)
		case (a.typ == "*") != (b.typ == "*"):
			return sign(b.typ == "*")
		case (a.sub == "*") != (b.sub == "*"):
			return sign(b.sub == "*")
		}
		return 0
	})
	return clauses
}

func sign(first bool) int {
	if first {
		return -1
	}
	return 1
}

func parseClause(part string) (clause, bool) {
	c := clause{q: 1}
	fields := strings.Split(part, ";")
	typ, sub, ok := strings.Cut(strings.TrimSpace(fields[0]), "/")
	if !ok {
		if typ != "*" {
			return c, false
		}
		sub = "*"
	}
	c.typ, c.sub = strings.TrimSpace(typ), strings.TrimSpace(sub)
	for _, p := range fields[1:] {
		k, v, ok := strings.Cut(p, "=")
		if !ok {
			continue
		}
		k, v = strings.TrimSpace(k), strings.TrimSpace(v)
		if k == "q" {
			c.q, _ = strconv.ParseFloat(v, 64)
			continue
		}
		c.params = append(c.params, [2]string{k, v})
	}
	return c, true
}
