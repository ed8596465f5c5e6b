package bootstrap

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
)

// flowControl are the suggested and mandatory objects of a v1.37 server.
//
//go:embed flowcontrol.json
var flowControl []byte

// FlowControl makes the priority levels and flow schemas, with the status
// that says that each schema's level is there.
func (m *Maker) FlowControl(ctx context.Context) error {
	var objects struct {
		FlowSchemas    []*flowcontrolv1.FlowSchema
		PriorityLevels []*flowcontrolv1.PriorityLevelConfiguration
	}
	if err := json.Unmarshal(flowControl, &objects); err != nil {
		return err
	}
	err := Together(ctx, objects.PriorityLevels, func(ctx context.Context, o *flowcontrolv1.PriorityLevelConfiguration) error {
		_, err := m.Create(ctx, flowcontrolv1.GroupName, "v1", "prioritylevelconfigurations", o)
		return err
	})
	if err != nil {
		return err
	}
	return Together(ctx, objects.FlowSchemas, m.flowSchema)
}

func (m *Maker) flowSchema(ctx context.Context, o *flowcontrolv1.FlowSchema) error {
	level := o.Spec.PriorityLevelConfiguration.Name
	created, err := m.Create(ctx, flowcontrolv1.GroupName, "v1", "flowschemas", o)
	if err != nil || !created {
		return err
	}
	return m.UpdateStatus(ctx, flowcontrolv1.GroupName, "v1", "flowschemas", "", o.Name, func(obj scheme.Object) {
		obj.(*flowcontrolv1.FlowSchema).Status.Conditions = []flowcontrolv1.FlowSchemaCondition{{
			Type: flowcontrolv1.FlowSchemaConditionDangling, Status: flowcontrolv1.ConditionFalse, LastTransitionTime: metav1.Now(), Reason: "Found",
			Message: fmt.Sprintf("This FlowSchema references the PriorityLevelConfiguration object named %q and it exists", level),
		}}
	})
}
