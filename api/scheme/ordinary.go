package scheme

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Nearly all labels and annotations are well-formed, and seen to be by one look
// at their bytes; the library's checks match several regular expressions for
// each. What is ordinary here is valid there. The other way round need not
// hold: the library then decides, and words what is wrong.

// ordinaryLabels is whether all labels are seen to be valid.
func ordinaryLabels(labels map[string]string) bool {
	for k, v := range labels {
		if !ordinaryKey(k) || v != "" && !ordinaryName(v) {
			return false
		}
	}
	return true
}

// annotationsSize is the most that all annotations may take, in bytes.
const annotationsSize = 256 << 10

// ordinaryAnnotations is whether all annotations are seen to be valid.
func ordinaryAnnotations(annotations map[string]string) bool {
	total := 0
	for k, v := range annotations {
		if total += len(k) + len(v); !ordinaryKey(k) {
			return false
		}
	}
	return total <= annotationsSize
}

// ordinaryKey is whether s is [DOMAIN/]NAME.
func ordinaryKey(s string) bool {
	if i := strings.IndexByte(s, '/'); i >= 0 {
		return ordinaryDomain(s[:i]) && ordinaryName(s[i+1:])
	}
	return ordinaryName(s)
}

const longestName, longestDomain = 63, 253

// ordinaryName is whether s has letters, digits, and "-", "_", "." within.
func ordinaryName(s string) bool {
	if len(s) == 0 || len(s) > longestName || !alphanumeric(s[0]) || !alphanumeric(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !alphanumeric(c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// ordinaryDomain is whether s is a DNS subdomain of lower case.
func ordinaryDomain(s string) bool {
	if len(s) == 0 || len(s) > longestDomain {
		return false
	}
	inside := byte('.') // the byte before
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		case c == '-' && inside != '.':
		case c == '.' && inside != '.' && inside != '-':
		default:
			return false
		}
		inside = c
	}
	return inside != '.' && inside != '-'
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// unordinary is the metadata that the library has to look at.
func unordinary(obj metav1.Object) metav1.Object {
	labels, annotations := obj.GetLabels(), obj.GetAnnotations()
	ofLabels, ofAnnotations := ordinaryLabels(labels), ordinaryAnnotations(annotations)
	if !ofLabels && !ofAnnotations || len(labels)+len(annotations) == 0 {
		return obj
	}
	m := &metav1.ObjectMeta{
		Name: obj.GetName(), GenerateName: obj.GetGenerateName(), Namespace: obj.GetNamespace(), UID: obj.GetUID(),
		ResourceVersion: obj.GetResourceVersion(), Generation: obj.GetGeneration(),
		OwnerReferences: obj.GetOwnerReferences(), Finalizers: obj.GetFinalizers(), ManagedFields: obj.GetManagedFields(),
		CreationTimestamp: obj.GetCreationTimestamp(), DeletionTimestamp: obj.GetDeletionTimestamp(),
		DeletionGracePeriodSeconds: obj.GetDeletionGracePeriodSeconds(),
	}
	if !ofLabels {
		m.Labels = labels
	}
	if !ofAnnotations {
		m.Annotations = annotations
	}
	return m
}
