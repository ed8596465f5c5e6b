package rbac

import (
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

// validateName allows whatever can stand in a URL: "system:node".
func validateName(name string, prefix bool) []string {
	return path.ValidatePathSegmentName(name, prefix)
}

var roleBindingHooks = scheme.Hooks[rbacv1.RoleBinding]{
	Default:      func(b *rbacv1.RoleBinding) { defaultBinding(&b.RoleRef, b.Subjects) },
	ValidateName: validateName,
	ValidateCreate: func(b *rbacv1.RoleBinding) field.ErrorList {
		return validateBinding(&b.RoleRef, b.Subjects, "Role", "ClusterRole")
	},
	ValidateUpdate: func(b, old *rbacv1.RoleBinding) field.ErrorList {
		errs := validateBinding(&b.RoleRef, b.Subjects, "Role", "ClusterRole")
		return append(errs, validateSameRole(b.RoleRef, old.RoleRef)...)
	},
	CreateOnUpdate: true,
}

var clusterRoleBindingHooks = scheme.Hooks[rbacv1.ClusterRoleBinding]{
	Default:      func(b *rbacv1.ClusterRoleBinding) { defaultBinding(&b.RoleRef, b.Subjects) },
	ValidateName: validateName,
	ValidateCreate: func(b *rbacv1.ClusterRoleBinding) field.ErrorList {
		return validateBinding(&b.RoleRef, b.Subjects, "ClusterRole")
	},
	ValidateUpdate: func(b, old *rbacv1.ClusterRoleBinding) field.ErrorList {
		errs := validateBinding(&b.RoleRef, b.Subjects, "ClusterRole")
		return append(errs, validateSameRole(b.RoleRef, old.RoleRef)...)
	},
	CreateOnUpdate: true,
}

func defaultBinding(ref *rbacv1.RoleRef, subjects []rbacv1.Subject) {
	if ref.APIGroup == "" {
		ref.APIGroup = rbacv1.GroupName
	}
	for i := range subjects {
		s := &subjects[i]
		if s.APIGroup == "" && (s.Kind == rbacv1.UserKind || s.Kind == rbacv1.GroupKind) {
			s.APIGroup = rbacv1.GroupName
		}
	}
}

// validateSameRole keeps a binding to its role: who may change its subjects
// may not thereby hand out another role.
func validateSameRole(ref, old rbacv1.RoleRef) field.ErrorList {
	if ref == old {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("roleRef"), internalform.Of(ref), "cannot change roleRef")}
}

func validateBinding(ref *rbacv1.RoleRef, subjects []rbacv1.Subject, kinds ...string) field.ErrorList {
	p := field.NewPath("roleRef")
	errs := check.OneOf(p.Child("apiGroup"), ref.APIGroup, rbacv1.GroupName)
	errs = append(errs, check.OneOf(p.Child("kind"), ref.Kind, kinds...)...)
	if ref.Name == "" {
		errs = append(errs, field.Required(p.Child("name"), ""))
	} else {
		errs = append(errs, check.PathSegment(p.Child("name"), ref.Name)...)
	}
	for i := range subjects {
		errs = append(errs, validateSubject(&subjects[i], field.NewPath("subjects").Index(i))...)
	}
	return errs
}

func validateSubject(s *rbacv1.Subject, p *field.Path) field.ErrorList {
	errs := check.Required(p.Child("name"), s.Name)
	switch s.Kind {
	case rbacv1.ServiceAccountKind:
		if s.Name != "" {
			errs = append(errs, check.Subdomain(p.Child("name"), s.Name)...)
		}
		errs = append(errs, check.OneOf(p.Child("apiGroup"), s.APIGroup, "")...)
		errs = append(errs, check.Required(p.Child("namespace"), s.Namespace)...)
	case rbacv1.UserKind, rbacv1.GroupKind:
		errs = append(errs, check.OneOf(p.Child("apiGroup"), s.APIGroup, rbacv1.GroupName)...)
	default:
		errs = append(errs, field.NotSupported(p.Child("kind"), s.Kind, []string{rbacv1.ServiceAccountKind, rbacv1.UserKind, rbacv1.GroupKind}))
	}
	return errs
}

func bindingColumns(of table.Documented, what string) []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.String("Role", table.Spelled(of.SwaggerDoc()["roleRef"], "RoleRef")),
		table.Age(),
		table.Wide(table.String("Users", "Users in the "+what)),
		table.Wide(table.String("Groups", "Groups in the "+what)),
		table.Wide(table.String("ServiceAccounts", "ServiceAccounts in the "+what)),
	}
}

func roleBindingRow(b *rbacv1.RoleBinding, now metav1.Time) []any {
	return bindingRow(&b.ObjectMeta, &b.RoleRef, b.Subjects, now)
}

func clusterRoleBindingRow(b *rbacv1.ClusterRoleBinding, now metav1.Time) []any {
	return bindingRow(&b.ObjectMeta, &b.RoleRef, b.Subjects, now)
}

func bindingRow(m *metav1.ObjectMeta, ref *rbacv1.RoleRef, subjects []rbacv1.Subject, now metav1.Time) []any {
	var users, groups, accounts []string
	for _, s := range subjects {
		switch s.Kind {
		case rbacv1.UserKind:
			users = append(users, s.Name)
		case rbacv1.GroupKind:
			groups = append(groups, s.Name)
		case rbacv1.ServiceAccountKind:
			accounts = append(accounts, s.Namespace+"/"+s.Name)
		}
	}
	return []any{m.Name, ref.Kind + "/" + ref.Name, table.Since(m.CreationTimestamp, now),
		strings.Join(users, ", "), strings.Join(groups, ", "), strings.Join(accounts, ", ")}
}
