package apps

import (
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/core"
	"xebec.dev/api/table"
)

type column = metav1.TableColumnDefinition

const readyDescription = "Number of the pod with ready state"

// podColumns are the wide columns about a pod template.
func podColumns() []column {
	return []column{
		table.Wide(table.String("Containers", "Names of each container in the template.")),
		table.Wide(table.String("Images", "Images referenced by each container in the template.")),
	}
}

func podCells(cells []any, s *corev1.PodSpec) []any {
	names, images := core.ContainerImages(s)
	return append(cells, names, images)
}

func ready(n int32, of *int32) string {
	want := int32(0)
	if of != nil {
		want = *of
	}
	return strconv.Itoa(int(n)) + "/" + strconv.Itoa(int(want))
}

func deploymentColumns() []column {
	var spec appsv1.DeploymentSpec
	var status appsv1.DeploymentStatus
	c := []column{
		table.Name(),
		table.String("Ready", readyDescription),
		table.Field("Up-to-date", status, "updatedReplicas"),
		table.Field("Available", status, "availableReplicas"),
		table.Age(),
	}
	return append(append(c, podColumns()...), table.Wide(table.Field("Selector", spec, "selector")))
}

func deploymentRow(d *appsv1.Deployment, now metav1.Time) []any {
	cells := make([]any, 0, 8)
	cells = append(cells, d.Name, ready(d.Status.ReadyReplicas, d.Spec.Replicas),
		int64(d.Status.UpdatedReplicas), int64(d.Status.AvailableReplicas), table.Since(d.CreationTimestamp, now))
	cells = podCells(cells, &d.Spec.Template.Spec)
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return append(cells, "<invalid>")
	}
	return append(cells, selector.String())
}

func replicaSetColumns() []column {
	var spec appsv1.ReplicaSetSpec
	var status appsv1.ReplicaSetStatus
	c := []column{
		table.Name(),
		table.TypedField("Desired", "integer", spec, "replicas"),
		table.TypedField("Current", "integer", status, "replicas"),
		table.TypedField("Ready", "integer", status, "readyReplicas"),
		table.Age(),
	}
	return append(append(c, podColumns()...), table.Wide(table.Field("Selector", spec, "selector")))
}

func replicaSetRow(r *appsv1.ReplicaSet, now metav1.Time) []any {
	want := int64(0)
	if r.Spec.Replicas != nil {
		want = int64(*r.Spec.Replicas)
	}
	cells := make([]any, 0, 8)
	cells = append(cells, r.Name, want, int64(r.Status.Replicas), int64(r.Status.ReadyReplicas), table.Since(r.CreationTimestamp, now))
	return append(podCells(cells, &r.Spec.Template.Spec), table.Selector(r.Spec.Selector))
}

func statefulSetColumns() []column {
	c := []column{
		table.Name(),
		table.String("Ready", readyDescription),
		table.Age(),
	}
	return append(c, podColumns()...)
}

func statefulSetRow(s *appsv1.StatefulSet, now metav1.Time) []any {
	cells := make([]any, 0, 5)
	cells = append(cells, s.Name, ready(s.Status.ReadyReplicas, s.Spec.Replicas), table.Since(s.CreationTimestamp, now))
	return podCells(cells, &s.Spec.Template.Spec)
}

func daemonSetColumns() []column {
	var spec appsv1.DaemonSetSpec
	var status appsv1.DaemonSetStatus
	c := []column{
		table.Name(),
		table.TypedField("Desired", "integer", status, "desiredNumberScheduled"),
		table.TypedField("Current", "integer", status, "currentNumberScheduled"),
		table.TypedField("Ready", "integer", status, "numberReady"),
		table.TypedField("Up-to-date", "integer", status, "updatedNumberScheduled"),
		table.TypedField("Available", "integer", status, "numberAvailable"),
		table.Field("Node Selector", corev1.PodSpec{}, "nodeSelector"),
		table.Age(),
	}
	return append(append(c, podColumns()...), table.Wide(table.Field("Selector", spec, "selector")))
}

func daemonSetRow(d *appsv1.DaemonSet, now metav1.Time) []any {
	s := &d.Status
	cells := make([]any, 0, 11)
	cells = append(cells, d.Name, int64(s.DesiredNumberScheduled), int64(s.CurrentNumberScheduled), int64(s.NumberReady),
		int64(s.UpdatedNumberScheduled), int64(s.NumberAvailable),
		labels.FormatLabels(d.Spec.Template.Spec.NodeSelector), table.Since(d.CreationTimestamp, now))
	return append(podCells(cells, &d.Spec.Template.Spec), table.Selector(d.Spec.Selector))
}

func controllerRevisionColumns() []column {
	var r appsv1.ControllerRevision
	return []column{
		table.Name(),
		table.String("Controller", "Controller of the object"),
		table.Field("Revision", r, "revision"),
		table.Age(),
	}
}

func controllerRevisionRow(r *appsv1.ControllerRevision, now metav1.Time) []any {
	controller := "<none>"
	if owner := metav1.GetControllerOf(r); owner != nil {
		group := ""
		if gv, err := schema.ParseGroupVersion(owner.APIVersion); err == nil {
			group = gv.Group
		}
		kind := schema.GroupKind{Group: group, Kind: strings.ToLower(owner.Kind)}
		controller = kind.String() + "/" + owner.Name
	}
	return []any{r.Name, controller, r.Revision, table.Since(r.CreationTimestamp, now)}
}
