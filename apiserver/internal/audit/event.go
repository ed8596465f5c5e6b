// Package audit keeps a record of what was asked of the server, by whom, and
// how it ended: as much of it as a policy says, to a log or a webhook.
package audit

import (
	"encoding/json"
	"maps"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/request"
)

// Level is how much of a request is recorded.
type Level string

// The levels, from least to most.
const (
	None            Level = "None"
	Metadata        Level = "Metadata"
	Request         Level = "Request"
	RequestResponse Level = "RequestResponse"
)

var order = map[Level]int{None: 0, Metadata: 1, Request: 2, RequestResponse: 3}

// AtLeast compares levels.
func (l Level) AtLeast(other Level) bool { return order[l] >= order[other] }

// Stage is when an event was made.
type Stage string

// The stages. ResponseStarted is for requests that go on for long.
const (
	RequestReceived  Stage = "RequestReceived"
	ResponseStarted  Stage = "ResponseStarted"
	ResponseComplete Stage = "ResponseComplete"
	Panic            Stage = "Panic"
)

// Event is audit.k8s.io/v1 Event. The order of the fields is the order in the
// log.
type Event struct {
	metav1.TypeMeta `json:",inline"`

	Level            Level                      `json:"level"`
	AuditID          string                     `json:"auditID"`
	Stage            Stage                      `json:"stage"`
	RequestURI       string                     `json:"requestURI"`
	Verb             string                     `json:"verb"`
	User             authenticationv1.UserInfo  `json:"user"`
	ImpersonatedUser *authenticationv1.UserInfo `json:"impersonatedUser,omitempty"`
	Authentication   *AuthenticationMetadata    `json:"authenticationMetadata,omitempty"`
	SourceIPs        []string                   `json:"sourceIPs,omitempty"`
	UserAgent        string                     `json:"userAgent,omitempty"`
	ObjectRef        *ObjectReference           `json:"objectRef,omitempty"`
	ResponseStatus   *metav1.Status             `json:"responseStatus,omitempty"`
	RequestObject    json.RawMessage            `json:"requestObject,omitempty"`
	ResponseObject   json.RawMessage            `json:"responseObject,omitempty"`
	RequestReceived  metav1.MicroTime           `json:"requestReceivedTimestamp"`
	StageTimestamp   metav1.MicroTime           `json:"stageTimestamp"`
	Annotations      map[string]string          `json:"annotations,omitempty"`
}

// AuthenticationMetadata says how the user was found out.
type AuthenticationMetadata struct {
	// ImpersonationConstraint is the verb of constrained impersonation.
	ImpersonationConstraint string `json:"impersonationConstraint,omitempty"`
}

// ObjectReference names what was asked about.
type ObjectReference struct {
	Resource        string `json:"resource,omitempty"`
	Namespace       string `json:"namespace,omitempty"`
	Name            string `json:"name,omitempty"`
	UID             string `json:"uid,omitempty"`
	APIGroup        string `json:"apiGroup,omitempty"`
	APIVersion      string `json:"apiVersion,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	Subresource     string `json:"subresource,omitempty"`
}

// EventList is what a webhook is sent.
type EventList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []*Event `json:"items"`
}

var eventMeta = metav1.TypeMeta{Kind: "Event", APIVersion: "audit.k8s.io/v1"}

func userInfo(u *request.User) authenticationv1.UserInfo {
	out := authenticationv1.UserInfo{Username: u.Name, UID: u.UID, Groups: u.Groups}
	for k, v := range u.Extra {
		if out.Extra == nil {
			out.Extra = make(map[string]authenticationv1.ExtraValue, len(u.Extra))
		}
		out.Extra[k] = v
	}
	return out
}

func objectRef(i *request.Info) *ObjectReference {
	if !i.IsResource {
		return nil
	}
	return &ObjectReference{
		Resource: i.Resource, Namespace: i.Namespace, Name: i.Name, APIGroup: i.Group, APIVersion: i.Version, Subresource: i.Subresource,
	}
}

// clone is a copy for a backend, which may keep it while the request goes on.
func (e *Event) clone() *Event {
	c := *e
	c.Annotations = maps.Clone(e.Annotations)
	if e.ObjectRef != nil {
		ref := *e.ObjectRef
		c.ObjectRef = &ref
	}
	return &c
}
