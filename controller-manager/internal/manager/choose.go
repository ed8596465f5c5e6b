package manager

import (
	"fmt"
	"strings"

	"xebec.dev/controller-manager/internal/control"
)

// choose picks the controllers that --controllers asks for. Old and new names
// are good; what is named and not known is a mistake of the caller's.
func choose(table []control.Spec, words []string) ([]control.Spec, error) {
	on, off, all := map[string]bool{}, map[string]bool{}, false
	byWord := map[string]string{}
	for i := range table {
		byWord[table[i].Name] = table[i].Name
		if table[i].Alias != "" {
			byWord[table[i].Alias] = table[i].Name
		}
	}
	for _, w := range words {
		if w == "*" {
			all = true
			continue
		}
		name, without := strings.CutPrefix(w, "-")
		canonical, ok := byWord[name]
		switch {
		case !ok && elsewhere[name]:
			continue
		case !ok:
			return nil, fmt.Errorf("%q is not in the list of known controllers", name)
		case without:
			off[canonical] = true
		default:
			on[canonical] = true
		}
	}
	var out []control.Spec
	for i := range table {
		s := table[i]
		if !off[s.Name] && (on[s.Name] || all && !s.OffByDefault) {
			out = append(out, s)
		}
	}
	return out, nil
}

// elsewhere are controllers of Kubernetes that this program does not have;
// naming them is no mistake.
var elsewhere = words(`
	service-lb-controller service node-route-controller route cloud-node-lifecycle-controller cloud-node-lifecycle
	persistentvolume-attach-detach-controller attachdetach persistentvolume-expander-controller persistentvolume-expander
	horizontal-pod-autoscaler-controller horizontalpodautoscaling device-taint-eviction-controller resourceclaim-controller
	resource-claim-controller storageversion-garbage-collector-controller storage-version-gc storage-version-migrator-controller
	validatingadmissionpolicy-status-controller validatingadmissionpolicy-status-controller selinux-warning-controller
	legacy-serviceaccount-token-cleaner-controller legacy-service-account-token-cleaner
	podcertificaterequest-cleaner-controller kube-apiserver-serving-clustertrustbundle-publisher-controller
	podgroup-protection-controller evictionrequest-controller resourcepoolstatusrequest-controller
`)

func words(s string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(s) {
		out[w] = true
	}
	return out
}
