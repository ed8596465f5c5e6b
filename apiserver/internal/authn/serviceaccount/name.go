// Package serviceaccount issues and checks the tokens of service accounts.
package serviceaccount

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	prefix         = "system:serviceaccount:"
	AllAccounts    = "system:serviceaccounts"
	groupOfPrefix  = "system:serviceaccounts:"
	PodNameKey     = "authentication.kubernetes.io/pod-name"
	PodUIDKey      = "authentication.kubernetes.io/pod-uid"
	NodeNameKey    = "authentication.kubernetes.io/node-name"
	NodeUIDKey     = "authentication.kubernetes.io/node-uid"
	methodName     = "serviceaccount"
	maxTokenLength = 64 << 10 // no token of ours is near; parsing is not free
)

// Username is the user name of a service account.
func Username(namespace, name string) string { return prefix + namespace + ":" + name }

// Groups are the groups of every service account of a namespace.
func Groups(namespace string) []string { return []string{AllAccounts, groupOfPrefix + namespace} }

// SplitUsername takes a service account's user name apart.
func SplitUsername(username string) (namespace, name string, ok bool) {
	rest, ok := strings.CutPrefix(username, prefix)
	if !ok {
		return "", "", false
	}
	namespace, name, ok = strings.Cut(rest, ":")
	if !ok || len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return "", "", false
	}
	return namespace, name, true
}
