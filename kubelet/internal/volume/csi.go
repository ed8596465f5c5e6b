package volume

import (
	"context"
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// drivers are the CSI drivers that have registered with this kubelet.
type drivers struct{ m *Manager }

func newDrivers(m *Manager) *drivers { return &drivers{m: m} }

func notRegistered(driver string) error {
	return fmt.Errorf("kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: driver name %s not found in the list of registered CSI drivers", driver)
}

// publishDir is where a driver makes a volume present for a pod.
func (d *drivers) publishDir(uid types.UID, name string) string {
	return filepath.Join(d.m.dir(uid, pluginCSI, name), "mount")
}

func (d *drivers) setupInline(_ context.Context, _ *podVolumes, v *corev1.Volume) error {
	return notRegistered(v.CSI.Driver)
}

func (d *drivers) setupBound(_ context.Context, _ *podVolumes, c *claimed) error {
	return notRegistered(c.volume.Spec.CSI.Driver)
}

func (d *drivers) teardown(context.Context, types.UID) error { return nil }
