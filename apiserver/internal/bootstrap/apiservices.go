package bootstrap

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	apiregistrationv1 "xebec.dev/api/apiregistration/v1"
	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/discovery"
)

// APIServices notes each built-in group version as one that this server
// serves itself.
func (m *Maker) APIServices(ctx context.Context, groups []discovery.Group) error {
	var all []schema.GroupVersion
	for _, g := range groups {
		for _, v := range g.Versions {
			all = append(all, schema.GroupVersion{Group: g.Name, Version: v.Name})
		}
	}
	return Together(ctx, all, m.apiService)
}

func (m *Maker) apiService(ctx context.Context, gv schema.GroupVersion) error {
	obj := &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{
			Name:   gv.Version + "." + gv.Group,
			Labels: map[string]string{"kube-aggregator.kubernetes.io/automanaged": "onstart"},
		},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: gv.Group, Version: gv.Version, GroupPriorityMinimum: discovery.GroupPriority(gv.Group),
			VersionPriority: discovery.VersionPriority(gv),
		},
	}
	created, err := m.Create(ctx, "apiregistration.k8s.io", "v1", "apiservices", obj)
	if err != nil || !created {
		return err
	}
	return m.UpdateStatus(ctx, "apiregistration.k8s.io", "v1", "apiservices", "", obj.Name, func(o scheme.Object) {
		o.(*apiregistrationv1.APIService).Status.Conditions = []apiregistrationv1.APIServiceCondition{{
			Type: "Available", Status: "True", LastTransitionTime: metav1.Now(), Reason: "Local",
			Message: "Local APIServices are always available",
		}}
	})
}
