package framework

import "xebec.dev/scheduler/internal/cache"

// Object is the kind of object that an event is about.
type Object string

// What plugins wait for.
const (
	AssignedPod        Object = "AssignedPod"
	UnscheduledPod     Object = "UnscheduledPod"
	TargetPod          Object = "TargetPod"
	Node               Object = "Node"
	Volume             Object = "PersistentVolume"
	Claim              Object = "PersistentVolumeClaim"
	CSINode            Object = "CSINode"
	CSIDriver          Object = "CSIDriver"
	CSIStorageCapacity Object = "CSIStorageCapacity"
	VolumeAttachment   Object = "VolumeAttachment"
	StorageClass       Object = "StorageClass"
	Wildcard           Object = "*"
)

// Action is what happened, as bits.
type Action uint32

// The actions.
const (
	Add Action = 1 << iota
	Delete
	UpdateNodeAllocatable
	UpdateNodeLabel
	UpdateNodeTaint
	UpdateNodeCondition
	UpdateNodeAnnotation
	UpdatePodLabel
	UpdatePodScaleDown
	UpdatePodToleration
	UpdatePodGates
	UpdateOther

	UpdateNode = UpdateNodeAllocatable | UpdateNodeLabel | UpdateNodeTaint | UpdateNodeCondition | UpdateNodeAnnotation
	Update     = UpdateNode | UpdatePodLabel | UpdatePodScaleDown | UpdatePodToleration | UpdatePodGates | UpdateOther
	All        = Add | Delete | Update
)

// Event is something that may let a pod be scheduled.
type Event struct {
	Object Object
	Action Action
	// Label names it in metrics.
	Label string
	// Old and New are *cache.Pod, *corev1.Node or other objects; nil where
	// there was or is none. Pods are those placed.
	Old, New any
	// Index is the node's, where the event is about a node or a pod on one.
	Index int32
}

// Hint is a plugin's opinion on an event, for a pod it has rejected.
type Hint bool

// The opinions.
const (
	QueueSkip Hint = false
	Queue     Hint = true
)

func (h Hint) String() string {
	if h == Queue {
		return "Queue"
	}
	return "QueueSkip"
}

// EventHint is an event that a plugin waits for. A nil Hint is always Queue.
type EventHint struct {
	Object Object
	Action Action
	Hint   func(c *cache.Cluster, p *cache.Pod, e *Event) Hint
}

// Enqueuer says which events may undo a plugin's rejections. A plugin without
// it is asked again after any event.
type Enqueuer interface {
	Plugin
	Events() []EventHint
}
