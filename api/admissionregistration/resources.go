// Package admissionregistration has the resources of the API group admissionregistration.k8s.io: names, defaults, validation,
// columns and update rules.
package admissionregistration

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/api/admissionregistration/v1alpha1"
	"k8s.io/api/admissionregistration/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
	"xebec.dev/api/version"
)

const group = "admissionregistration.k8s.io"

// Resources is the group's part of the table, with CEL expressions stored as
// they come.
func Resources() []scheme.Resource { return ResourcesWith(nil) }

// ResourcesWith is Resources with CEL expressions checked by compile.
func ResourcesWith(compile CompileExpression) []scheme.Resource {
	v := validator{compile}
	return []scheme.Resource{
		{
			Group: group, Version: "v1", Kind: "MutatingAdmissionPolicy",
			Plural: "mutatingadmissionpolicies", Singular: "mutatingadmissionpolicy",
			Categories: []string{"api-extensions"},
			New:        func() runtime.Object { return new(admissionregistrationv1.MutatingAdmissionPolicy) },
			NewList:    func() runtime.Object { return new(admissionregistrationv1.MutatingAdmissionPolicyList) },
			Served: []scheme.Version{
				version.Own(group, "v1", &admissionregistrationv1.MutatingAdmissionPolicy{}),
				version.Off(version.WireEqual[v1beta1.MutatingAdmissionPolicy, v1beta1.MutatingAdmissionPolicyList, admissionregistrationv1.MutatingAdmissionPolicy](group, "v1beta1")),
				version.Off(version.WireEqual[v1alpha1.MutatingAdmissionPolicy, v1alpha1.MutatingAdmissionPolicyList, admissionregistrationv1.MutatingAdmissionPolicy](group, "v1alpha1")),
			},
			StoragePrefix: "mutatingadmissionpolicies",
			Strategy:      v.mutatingPolicyHooks().Erase(),
			Columns:       mutatingPolicyColumns(),
			Row:           scheme.Rows(mutatingPolicyRow),
		},
		{
			Group: group, Version: "v1", Kind: "MutatingAdmissionPolicyBinding",
			Plural: "mutatingadmissionpolicybindings", Singular: "mutatingadmissionpolicybinding",
			Categories: []string{"api-extensions"},
			New:        func() runtime.Object { return new(admissionregistrationv1.MutatingAdmissionPolicyBinding) },
			NewList:    func() runtime.Object { return new(admissionregistrationv1.MutatingAdmissionPolicyBindingList) },
			Served: []scheme.Version{
				version.Own(group, "v1", &admissionregistrationv1.MutatingAdmissionPolicyBinding{}),
				version.Off(version.WireEqual[v1beta1.MutatingAdmissionPolicyBinding, v1beta1.MutatingAdmissionPolicyBindingList, admissionregistrationv1.MutatingAdmissionPolicyBinding](group, "v1beta1")),
				version.Off(version.WireEqual[v1alpha1.MutatingAdmissionPolicyBinding, v1alpha1.MutatingAdmissionPolicyBindingList, admissionregistrationv1.MutatingAdmissionPolicyBinding](group, "v1alpha1")),
			},
			StoragePrefix: "mutatingadmissionpolicybindings",
			Strategy:      mutatingBindingHooks.Erase(),
			Columns:       bindingColumns(),
			Row:           scheme.Rows(mutatingBindingRow),
		},
		{
			Group: group, Version: "v1", Kind: "MutatingWebhookConfiguration",
			Plural: "mutatingwebhookconfigurations", Singular: "mutatingwebhookconfiguration",
			Categories:    []string{"api-extensions"},
			New:           func() runtime.Object { return new(admissionregistrationv1.MutatingWebhookConfiguration) },
			NewList:       func() runtime.Object { return new(admissionregistrationv1.MutatingWebhookConfigurationList) },
			StoragePrefix: "mutatingwebhookconfigurations",
			Strategy:      v.mutatingWebhookHooks().Erase(),
			Columns:       webhookColumns(),
			Row:           scheme.Rows(mutatingWebhookRow),
		},
		{
			Group: group, Version: "v1", Kind: "ValidatingAdmissionPolicy",
			Plural: "validatingadmissionpolicies", Singular: "validatingadmissionpolicy",
			Categories:    []string{"api-extensions"},
			New:           func() runtime.Object { return new(admissionregistrationv1.ValidatingAdmissionPolicy) },
			NewList:       func() runtime.Object { return new(admissionregistrationv1.ValidatingAdmissionPolicyList) },
			StoragePrefix: "validatingadmissionpolicies",
			Strategy:      v.validatingPolicyHooks().Erase(),
			Columns:       validatingPolicyColumns(),
			Row:           scheme.Rows(validatingPolicyRow),
			Subresources: []scheme.Subresource{
				{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: validatingPolicyStatusHooks.Pointer()},
			},
		},
		{
			Group: group, Version: "v1", Kind: "ValidatingAdmissionPolicyBinding",
			Plural: "validatingadmissionpolicybindings", Singular: "validatingadmissionpolicybinding",
			Categories:    []string{"api-extensions"},
			New:           func() runtime.Object { return new(admissionregistrationv1.ValidatingAdmissionPolicyBinding) },
			NewList:       func() runtime.Object { return new(admissionregistrationv1.ValidatingAdmissionPolicyBindingList) },
			StoragePrefix: "validatingadmissionpolicybindings",
			Strategy:      validatingBindingHooks.Erase(),
			Columns:       bindingColumns(),
			Row:           scheme.Rows(validatingBindingRow),
		},
		{
			Group: group, Version: "v1", Kind: "ValidatingWebhookConfiguration",
			Plural: "validatingwebhookconfigurations", Singular: "validatingwebhookconfiguration",
			Categories:    []string{"api-extensions"},
			New:           func() runtime.Object { return new(admissionregistrationv1.ValidatingWebhookConfiguration) },
			NewList:       func() runtime.Object { return new(admissionregistrationv1.ValidatingWebhookConfigurationList) },
			StoragePrefix: "validatingwebhookconfigurations",
			Strategy:      v.validatingWebhookHooks().Erase(),
			Columns:       webhookColumns(),
			Row:           scheme.Rows(validatingWebhookRow),
		},
	}
}
