package kubeadm

import (
	"errors"
	"fmt"
)

// Complete fills in what the documents of a file leave open, and says
// everything that is wrong with them.
func (f *File) Complete(hostname, address string) error {
	var errs []error
	if f.Cluster != nil {
		f.Cluster.Default()
		errs = append(errs, f.Cluster.Validate())
	}
	if f.Init != nil {
		f.Init.Default(hostname, address)
		errs = append(errs, f.Init.Validate())
	}
	if f.Join != nil {
		f.Join.Default(hostname, address)
		errs = append(errs, f.Join.Validate())
	}
	if f.Reset != nil {
		f.Reset.Default()
		errs = append(errs, f.Reset.Validate())
	}
	if f.Upgrade != nil {
		f.Upgrade.Default()
		errs = append(errs, f.Upgrade.Validate())
	}
	return errors.Join(errs...)
}

// Migrated is a file as it is read: completed, in the version of today. The
// configurations of components are passed on as they are.
func (f *File) Migrated(hostname, address string) ([]byte, error) {
	// Init reads both of its kinds, whichever is given.
	if f.Init != nil || f.Cluster != nil {
		if f.Init == nil {
			f.Init = &InitConfiguration{}
		}
		if f.Cluster == nil {
			f.Cluster = &ClusterConfiguration{}
		}
	}
	if f.Init != nil && f.Join != nil {
		return nil, errors.New("InitConfiguration or ClusterConfiguration, and JoinConfiguration, exclude each other: a node either begins a cluster or joins one")
	}
	if err := f.Complete(hostname, address); err != nil {
		return nil, err
	}
	var docs []any
	if f.Init != nil {
		docs = append(docs, f.Init, f.Cluster)
	}
	if f.Join != nil {
		docs = append(docs, f.Join)
	}
	if f.Reset != nil {
		docs = append(docs, f.Reset)
	}
	if f.Upgrade != nil {
		docs = append(docs, f.Upgrade)
	}
	for _, m := range []map[string]any{f.Kubelet, f.Proxy} {
		if m != nil {
			docs = append(docs, m)
		}
	}
	return Print(docs...)
}

// Default fills in what a ResetConfiguration leaves open. Its runtime and its
// certificates are the node's own when it names none.
func (c *ResetConfiguration) Default() {
	c.APIVersion, c.Kind = APIVersion, "ResetConfiguration"
	if c.Timeouts == nil {
		c.Timeouts = &Timeouts{}
	}
	c.Timeouts.Default()
}

// Validate says what is wrong with a defaulted configuration.
func (c *ResetConfiguration) Validate() error {
	_, err := c.Flags()
	return err
}

// Default fills in what options leave open.
func (o *UpgradeOptions) Default() {
	yes := true
	for _, b := range []**bool{&o.CertificateRenewal, &o.EtcdUpgrade, &o.ImagePullSerial} {
		if *b == nil {
			*b = &yes
		}
	}
	if o.ImagePullPolicy == "" {
		o.ImagePullPolicy = "IfNotPresent"
	}
}

// Default fills in what an UpgradeConfiguration leaves open.
func (c *UpgradeConfiguration) Default() {
	c.APIVersion, c.Kind = APIVersion, "UpgradeConfiguration"
	c.Apply.UpgradeOptions.Default()
	c.Node.Default()
	if c.Plan.EtcdUpgrade == nil {
		yes := true
		c.Plan.EtcdUpgrade = &yes
	}
	if c.Diff.DiffContextLines == 0 {
		c.Diff.DiffContextLines = 3
	}
	if c.Timeouts == nil {
		c.Timeouts = &Timeouts{}
	}
	c.Timeouts.Default()
}

// Validate says everything that is wrong with a defaulted configuration.
func (c *UpgradeConfiguration) Validate() error {
	errs := []error{pullPolicy("apply.imagePullPolicy", string(c.Apply.ImagePullPolicy)), pullPolicy("node.imagePullPolicy", string(c.Node.ImagePullPolicy))}
	if c.Diff.DiffContextLines < 0 {
		errs = append(errs, fmt.Errorf("diff.contextLines: %d: expected no less than 0", c.Diff.DiffContextLines))
	}
	return errors.Join(errs...)
}

func pullPolicy(field, policy string) error {
	switch policy {
	case "Always", "IfNotPresent", "Never":
		return nil
	}
	return fmt.Errorf("%s: %q: expected Always, IfNotPresent or Never", field, policy)
}
