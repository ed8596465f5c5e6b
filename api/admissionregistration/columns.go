package admissionregistration

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/table"
)

func webhookColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.Typed("Webhooks", "integer", "Webhooks indicates the number of webhooks registered in this configuration"),
		table.Age(),
	}
}

func validatingWebhookRow(c *admissionregistrationv1.ValidatingWebhookConfiguration, now metav1.Time) []any {
	return []any{c.Name, int64(len(c.Webhooks)), table.Since(c.CreationTimestamp, now)}
}

func mutatingWebhookRow(c *admissionregistrationv1.MutatingWebhookConfiguration, now metav1.Time) []any {
	return []any{c.Name, int64(len(c.Webhooks)), table.Since(c.CreationTimestamp, now)}
}

func validatingPolicyColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.Typed("Validations", "integer", "Validations indicates the number of validation rules defined in this configuration"),
		paramKindColumn(),
		table.Age(),
	}
}

func paramKindColumn() metav1.TableColumnDefinition {
	return table.String("ParamKind", "ParamKind specifies the kind of resources used to parameterize this policy")
}

func validatingPolicyRow(p *admissionregistrationv1.ValidatingAdmissionPolicy, now metav1.Time) []any {
	return []any{p.Name, int64(len(p.Spec.Validations)), paramKindText(p.Spec.ParamKind), table.Since(p.CreationTimestamp, now)}
}

func mutatingPolicyColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.Typed("Mutations", "integer", "Mutations indicates the number of mutation rules defined in this configuration"),
		paramKindColumn(),
		table.Age(),
	}
}

func mutatingPolicyRow(p *admissionregistrationv1.MutatingAdmissionPolicy, now metav1.Time) []any {
	return []any{p.Name, int64(len(p.Spec.Mutations)), paramKindText(p.Spec.ParamKind), table.Since(p.CreationTimestamp, now)}
}

func paramKindText(k *admissionregistrationv1.ParamKind) string {
	if k == nil {
		return "<unset>"
	}
	return k.APIVersion + "/" + k.Kind
}

func bindingColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.String("PolicyName", "PolicyName indicates the policy definition which the policy binding binded to"),
		table.String("ParamRef", "ParamRef indicates the param resource which sets the configuration param"),
		table.Age(),
	}
}

func validatingBindingRow(b *admissionregistrationv1.ValidatingAdmissionPolicyBinding, now metav1.Time) []any {
	return []any{b.Name, b.Spec.PolicyName, paramRefText(b.Spec.ParamRef), table.Since(b.CreationTimestamp, now)}
}

func mutatingBindingRow(b *admissionregistrationv1.MutatingAdmissionPolicyBinding, now metav1.Time) []any {
	return []any{b.Name, b.Spec.PolicyName, paramRefText(b.Spec.ParamRef), table.Since(b.CreationTimestamp, now)}
}

func paramRefText(r *admissionregistrationv1.ParamRef) string {
	switch {
	case r == nil:
		return "<unset>"
	case r.Name == "" && r.Selector != nil:
		return r.Selector.String()
	case r.Namespace != "":
		return r.Namespace + "/" + r.Name
	}
	return r.Name
}
