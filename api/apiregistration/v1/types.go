package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// APIService represents a server for a particular group and version. Its name
// must be "version.group".
type APIService struct {
	metav1.TypeMeta `json:""`
	// Standard object's metadata.
	// More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`
	// spec says what is served and by whom.
	Spec APIServiceSpec `json:"spec,omitempty" protobuf:"bytes,2,opt,name=spec"`
	// status says whether the server can be reached.
	Status APIServiceStatus `json:"status,omitempty" protobuf:"bytes,3,opt,name=status"`
}

// APIServiceList is a list of APIService objects.
type APIServiceList struct {
	metav1.TypeMeta `json:""`
	// Standard list metadata.
	// More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata
	// +optional
	metav1.ListMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`
	// items is the list of APIServices.
	Items []APIService `json:"items" protobuf:"bytes,2,rep,name=items"`
}

// APIServiceSpec says which group and version is served and by whom. Only
// https is supported.
type APIServiceSpec struct {
	// service is where requests for the group and version go; its certificate
	// is checked. Unset means that this API server handles them itself.
	// +optional
	Service *ServiceReference `json:"service,omitempty" protobuf:"bytes,1,opt,name=service"`
	// group is the API group's name.
	Group string `json:"group,omitempty" protobuf:"bytes,2,opt,name=group"`
	// version is the API version, for example "v1".
	Version string `json:"version,omitempty" protobuf:"bytes,3,opt,name=version"`
	// insecureSkipTLSVerify turns off the check of the server's certificate.
	// Better use caBundle.
	InsecureSkipTLSVerify bool `json:"insecureSkipTLSVerify,omitempty" protobuf:"varint,4,opt,name=insecureSkipTLSVerify"`
	// caBundle is a PEM bundle of certificate authorities that the server's
	// certificate is checked with. Unset means those of the system.
	// +listType=atomic
	// +optional
	CABundle []byte `json:"caBundle,omitempty" protobuf:"bytes,5,opt,name=caBundle"`
	// groupPriorityMinimum is the least priority of the group in discovery:
	// clients prefer groups with a higher one. The highest of all versions of a
	// group counts; groups of equal priority are ordered by name.
	GroupPriorityMinimum int32 `json:"groupPriorityMinimum" protobuf:"varint,7,opt,name=groupPriorityMinimum"`
	// versionPriority orders the versions of the group, higher ones first.
	// Versions of equal priority are ordered by their names: stable ones (v10,
	// v2) before beta (v3beta1) before alpha (v12alpha1) before others (foo1).
	VersionPriority int32 `json:"versionPriority" protobuf:"varint,8,opt,name=versionPriority"`
}

// ServiceReference names a Service.
type ServiceReference struct {
	// namespace is the namespace of the service.
	Namespace string `json:"namespace,omitempty" protobuf:"bytes,1,opt,name=namespace"`
	// name is the name of the service.
	Name string `json:"name,omitempty" protobuf:"bytes,2,opt,name=name"`
	// port is the service's port, from 1 to 65535. Defaults to 443.
	// +optional
	Port *int32 `json:"port,omitempty" protobuf:"varint,3,opt,name=port"`
}

// APIServiceStatus says whether a server can be reached.
type APIServiceStatus struct {
	// conditions of the server.
	// +optional
	// +patchMergeKey=type
	// +patchStrategy=merge
	// +listType=map
	// +listMapKey=type
	Conditions []APIServiceCondition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type" protobuf:"bytes,1,rep,name=conditions"`
}

// APIServiceCondition is one thing known about a server at some time.
type APIServiceCondition struct {
	// type is the type of the condition.
	Type string `json:"type" protobuf:"bytes,1,opt,name=type"`
	// status is True, False or Unknown.
	Status string `json:"status" protobuf:"bytes,2,opt,name=status"`
	// lastTransitionTime is when the status changed last.
	// +optional
	LastTransitionTime metav1.Time `json:"lastTransitionTime,omitempty" protobuf:"bytes,3,opt,name=lastTransitionTime"`
	// reason is one word in CamelCase for the last change.
	// +optional
	Reason string `json:"reason,omitempty" protobuf:"bytes,4,opt,name=reason"`
	// message is about the last change, for people.
	// +optional
	Message string `json:"message,omitempty" protobuf:"bytes,5,opt,name=message"`
}

// Available is the condition that the service answers.
const Available = "Available"

// LocalAvailable is the Available condition of what the server serves itself.
func LocalAvailable(now metav1.Time) APIServiceCondition {
	return APIServiceCondition{
		Type: Available, Status: string(metav1.ConditionTrue), LastTransitionTime: now,
		Reason: "Local", Message: "Local APIServices are always available",
	}
}

// Condition finds a condition; nil when there is none.
func (s *APIServiceStatus) Condition(kind string) *APIServiceCondition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == kind {
			return &s.Conditions[i]
		}
	}
	return nil
}

// DeepCopyInto copies s to out.
func (s *APIService) DeepCopyInto(out *APIService) {
	*out = *s
	s.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	s.Spec.DeepCopyInto(&out.Spec)
	s.Status.DeepCopyInto(&out.Status)
}

// DeepCopy is a copy of s.
func (s *APIService) DeepCopy() *APIService {
	if s == nil {
		return nil
	}
	out := new(APIService)
	s.DeepCopyInto(out)
	return out
}

// DeepCopyObject is a copy of s.
func (s *APIService) DeepCopyObject() runtime.Object { return s.DeepCopy() }

// DeepCopyInto copies s to out.
func (s *APIServiceSpec) DeepCopyInto(out *APIServiceSpec) {
	*out = *s
	if s.Service != nil {
		service := *s.Service
		if service.Port != nil {
			port := *service.Port
			service.Port = &port
		}
		out.Service = &service
	}
	if s.CABundle != nil {
		out.CABundle = append([]byte{}, s.CABundle...)
	}
}

// DeepCopyInto copies s to out.
func (s *APIServiceStatus) DeepCopyInto(out *APIServiceStatus) {
	*out = *s
	if s.Conditions != nil {
		out.Conditions = append([]APIServiceCondition{}, s.Conditions...)
	}
}

// DeepCopyObject is a copy of l.
func (l *APIServiceList) DeepCopyObject() runtime.Object {
	if l == nil {
		return nil
	}
	out := &APIServiceList{TypeMeta: l.TypeMeta}
	l.ListMeta.DeepCopyInto(&out.ListMeta)
	if l.Items != nil {
		out.Items = make([]APIService, len(l.Items))
		for i := range l.Items {
			l.Items[i].DeepCopyInto(&out.Items[i])
		}
	}
	return out
}
