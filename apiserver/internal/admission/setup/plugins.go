package setup

import (
	"context"

	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/admission/always"
	"xebec.dev/apiserver/internal/admission/alwayspullimages"
	"xebec.dev/apiserver/internal/admission/autoprovision"
	"xebec.dev/apiserver/internal/admission/certificateapproval"
	"xebec.dev/apiserver/internal/admission/certificatesigning"
	"xebec.dev/apiserver/internal/admission/certificatesubject"
	"xebec.dev/apiserver/internal/admission/claimresize"
	"xebec.dev/apiserver/internal/admission/defaultingressclass"
	"xebec.dev/apiserver/internal/admission/defaultstorageclass"
	"xebec.dev/apiserver/internal/admission/defaulttolerationseconds"
	"xebec.dev/apiserver/internal/admission/denyexternalips"
	"xebec.dev/apiserver/internal/admission/eventratelimit"
	"xebec.dev/apiserver/internal/admission/extendedresource"
	"xebec.dev/apiserver/internal/admission/hardantiaffinity"
	"xebec.dev/apiserver/internal/admission/limitranger"
	"xebec.dev/apiserver/internal/admission/namespaceexists"
	"xebec.dev/apiserver/internal/admission/namespacelifecycle"
	"xebec.dev/apiserver/internal/admission/noderestriction"
	"xebec.dev/apiserver/internal/admission/ownerreferences"
	"xebec.dev/apiserver/internal/admission/podnodeselector"
	"xebec.dev/apiserver/internal/admission/podsecurity"
	"xebec.dev/apiserver/internal/admission/podtoleration"
	"xebec.dev/apiserver/internal/admission/podtopology"
	"xebec.dev/apiserver/internal/admission/priority"
	"xebec.dev/apiserver/internal/admission/resourcequota"
	"xebec.dev/apiserver/internal/admission/runtimeclass"
	"xebec.dev/apiserver/internal/admission/serviceaccount"
	"xebec.dev/apiserver/internal/admission/storageobjectinuse"
	"xebec.dev/apiserver/internal/admission/taintnodes"
	"xebec.dev/apiserver/internal/admission/trustbundleattest"
)

// Creator makes an object as the server itself.
type Creator func(ctx context.Context, r *scheme.Resource, obj scheme.Object) error

// choice is a plugin that can be chosen. make is nil for names that are known
// and whose work other parts of the chain do.
type choice struct {
	name      string
	byDefault bool
	make      func(config []byte) (admission.Plugin, error)
}

type builder struct {
	*Options
	*Deps
}

func on(name string, p func() admission.Plugin) choice {
	return choice{name, true, func([]byte) (admission.Plugin, error) { return p(), nil }}
}

func off(name string, p func() admission.Plugin) choice {
	return choice{name, false, func([]byte) (admission.Plugin, error) { return p(), nil }}
}

func configured(name string, byDefault bool, p func(config []byte) (admission.Plugin, error)) choice {
	return choice{name, byDefault, p}
}

// plugins are all there are, in the order in which they are asked.
func (b *builder) plugins() []choice {
	r := b.resource
	return []choice{
		off("AlwaysAdmit", func() admission.Plugin { return always.Admit{} }),
		off("NamespaceAutoProvision", func() admission.Plugin {
			return &autoprovision.Plugin{Reader: b.Reader, Store: b.Store, Namespaces: r("", "namespaces"), Create: b.Create}
		}),
		on("NamespaceLifecycle", func() admission.Plugin { return namespacelifecycle.New(b.Reader, b.Store, r("", "namespaces")) }),
		off("NamespaceExists", func() admission.Plugin { return namespaceexists.New(b.Reader, b.Store, r("", "namespaces")) }),
		off("LimitPodHardAntiAffinityTopology", func() admission.Plugin { return hardantiaffinity.Plugin{} }),
		on("LimitRanger", func() admission.Plugin { return limitranger.New(b.Reader, r("", "limitranges")) }),
		on("ServiceAccount", func() admission.Plugin { return serviceaccount.New(b.Reader, b.Store, r("", "serviceaccounts")) }),
		off("NodeRestriction", func() admission.Plugin { return noderestriction.New(b.Reader, b.Store, b.Authorizer, r) }),
		on("TaintNodesByCondition", func() admission.Plugin { return taintnodes.Plugin{} }),
		off("AlwaysPullImages", func() admission.Plugin { return alwayspullimages.Plugin{} }),
		configured("PodSecurity", true, b.podSecurity),
		configured("PodNodeSelector", false, func(config []byte) (admission.Plugin, error) {
			return podnodeselector.New(config, b.Reader, b.Store, r("", "namespaces"))
		}),
		on("Priority", func() admission.Plugin { return priority.New(b.Reader, r(schedulingv1.GroupName, "priorityclasses")) }),
		on("DefaultTolerationSeconds", func() admission.Plugin {
			return defaulttolerationseconds.Plugin{NotReady: b.NotReadySeconds, Unreachable: b.UnreachableSeconds}
		}),
		configured("PodTolerationRestriction", false, b.podTolerations),
		configured("EventRateLimit", false, func(config []byte) (admission.Plugin, error) {
			limits, err := eventratelimit.Configuration(config)
			if err != nil {
				return nil, err
			}
			return eventratelimit.New(limits), nil
		}),
		off("ExtendedResourceToleration", func() admission.Plugin { return extendedresource.Plugin{} }),
		on("DefaultStorageClass", func() admission.Plugin {
			return defaultstorageclass.New(b.Reader, r(storagev1.GroupName, "storageclasses"))
		}),
		on("StorageObjectInUseProtection", func() admission.Plugin { return storageobjectinuse.Plugin{} }),
		off("OwnerReferencesPermissionEnforcement", func() admission.Plugin {
			return &ownerreferences.Plugin{Authorizer: b.Authorizer, Scheme: b.Scheme}
		}),
		on("PersistentVolumeClaimResize", func() admission.Plugin {
			return claimresize.New(b.Reader, b.Store, r(storagev1.GroupName, "storageclasses"))
		}),
		on("RuntimeClass", func() admission.Plugin {
			return runtimeclass.New(b.Reader, b.Store, r(nodev1.GroupName, "runtimeclasses"))
		}),
		on("CertificateApproval", func() admission.Plugin { return &certificateapproval.Plugin{Authorizer: b.Authorizer} }),
		on("CertificateSigning", func() admission.Plugin { return &certificatesigning.Plugin{Authorizer: b.Authorizer} }),
		on("ClusterTrustBundleAttest", func() admission.Plugin { return &trustbundleattest.Plugin{Authorizer: b.Authorizer} }),
		on("CertificateSubjectRestriction", func() admission.Plugin { return certificatesubject.Plugin{} }),
		on("DefaultIngressClass", func() admission.Plugin {
			return defaultingressclass.New(b.Reader, r(networkingv1.GroupName, "ingressclasses"))
		}),
		off("DenyServiceExternalIPs", func() admission.Plugin { return denyexternalips.Plugin{} }),
		on("PodTopologyLabels", func() admission.Plugin { return podtopology.New(b.Reader, r("", "nodes")) }),
		{name: "MutatingAdmissionPolicy"},
		{name: "MutatingAdmissionWebhook"},
		{name: "ValidatingAdmissionPolicy"},
		{name: "ValidatingAdmissionWebhook"},
		configured("ResourceQuota", true, b.resourceQuota),
		off("AlwaysDeny", func() admission.Plugin { return always.Deny{} }),
	}
}

func (b *builder) podSecurity(config []byte) (admission.Plugin, error) {
	c, err := podsecurity.Configuration(config)
	if err != nil {
		return nil, err
	}
	return podsecurity.New(c, b.Reader, b.resource("", "namespaces"), b.resource("", "pods"))
}

func (b *builder) resourceQuota(config []byte) (admission.Plugin, error) {
	limited, err := resourcequota.Configuration(config)
	if err != nil {
		return nil, err
	}
	return resourcequota.New(b.Reader, b.Store, b.resource("", "resourcequotas"), limited), nil
}

func (b *builder) podTolerations(config []byte) (admission.Plugin, error) {
	c, err := podtoleration.Configuration(config)
	if err != nil {
		return nil, err
	}
	return podtoleration.New(c, b.Reader, b.Store, b.resource("", "namespaces")), nil
}
