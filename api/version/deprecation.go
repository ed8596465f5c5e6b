package version

import (
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// level is the minor version of Kubernetes whose API this is.
const level = 37

// deprecation is the warning that goes with answers at a version that its
// authors have deprecated, in the words of Kubernetes; "" when they have not.
func deprecation(example runtime.Object, group, version string) string {
	d, ok := example.(interface{ APILifecycleDeprecated() (major, minor int) })
	if !ok {
		return ""
	}
	major, minor := d.APILifecycleDeprecated()
	if minor > level {
		return ""
	}
	kind := reflect.TypeOf(example).Elem().Name()
	text := fmt.Sprintf("%s/%s %s is deprecated in v%d.%d+", group, version, kind, major, minor)
	if r, ok := example.(interface{ APILifecycleRemoved() (major, minor int) }); ok {
		major, minor := r.APILifecycleRemoved()
		text += fmt.Sprintf(", unavailable in v%d.%d+", major, minor)
	}
	if r, ok := example.(interface {
		APILifecycleReplacement() schema.GroupVersionKind
	}); ok {
		with := r.APILifecycleReplacement()
		text += fmt.Sprintf("; use %s %s", with.GroupVersion(), with.Kind)
	}
	return text
}
