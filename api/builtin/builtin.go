// Package builtin assembles the table of all built-in resources.
package builtin

import (
	"xebec.dev/api/admissionregistration"
	"xebec.dev/api/apiextensions"
	"xebec.dev/api/apiregistration"
	"xebec.dev/api/apiserverinternal"
	"xebec.dev/api/apps"
	"xebec.dev/api/authentication"
	"xebec.dev/api/authorization"
	"xebec.dev/api/autoscaling"
	"xebec.dev/api/batch"
	"xebec.dev/api/certificates"
	"xebec.dev/api/coordination"
	"xebec.dev/api/core"
	"xebec.dev/api/discovery"
	"xebec.dev/api/flowcontrol"
	"xebec.dev/api/lifecycle"
	"xebec.dev/api/networking"
	"xebec.dev/api/node"
	"xebec.dev/api/policy"
	"xebec.dev/api/rbac"
	"xebec.dev/api/resource"
	"xebec.dev/api/scheduling"
	"xebec.dev/api/scheme"
	"xebec.dev/api/storage"
	"xebec.dev/api/storagemigration"
)

// Checks are what validation needs from outside this module; nil ones check
// nothing.
type Checks struct {
	// DeviceSelector compiles the CEL expressions that choose devices.
	DeviceSelector resource.CompileExpression
}

// Scheme is the table of what a Kubernetes v1.37 API server serves, with CEL
// expressions stored as they come.
func Scheme() *scheme.Scheme { return SchemeWith(Checks{}) }

// SchemeWith is Scheme with more checks.
func SchemeWith(c Checks) *scheme.Scheme {
	return scheme.New(
		core.Resources(),
		apps.Resources(),
		authentication.Resources(),
		authorization.Resources(),
		autoscaling.Resources(),
		batch.Resources(),
		certificates.Resources(),
		networking.Resources(),
		policy.Resources(),
		rbac.Resources(),
		storage.Resources(),
		admissionregistration.Resources(),
		scheduling.Resources(),
		coordination.Resources(),
		node.Resources(),
		discovery.Resources(),
		resource.ResourcesWith(c.DeviceSelector),
		flowcontrol.Resources(),
		apiextensions.Resources(),
		apiregistration.Resources(),
		lifecycle.Resources(),
		apiserverinternal.Resources(),
		storagemigration.Resources(),
	)
}
