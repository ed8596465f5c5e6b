// Package certificates has the resources of the API group certificates.k8s.io: names, defaults, validation,
// columns and update rules.
package certificates

import (
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

const group = "certificates.k8s.io"

// Resources is the group's part of the table.
func Resources() []scheme.Resource {
	return []scheme.Resource{
		{
			Group: group, Version: "v1", Kind: "CertificateSigningRequest",
			Plural: "certificatesigningrequests", Singular: "certificatesigningrequest",
			ShortNames:    []string{"csr"},
			New:           func() runtime.Object { return new(certificatesv1.CertificateSigningRequest) },
			NewList:       func() runtime.Object { return new(certificatesv1.CertificateSigningRequestList) },
			StoragePrefix: "certificatesigningrequests",
			Strategy:      requestHooks.Erase(),
			Fields:        []scheme.SelectableField{{Label: "spec.signerName"}},
			Columns:       requestColumns(),
			Row:           scheme.Rows(requestRow),
			Subresources: []scheme.Subresource{
				{Name: "approval", Verbs: []string{"get", "patch", "update"}, Update: requestApprovalHooks.Pointer()},
				{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: requestStatusHooks.Pointer()},
			},
		},
		trustBundles(),
		podRequests(),
	}
}
