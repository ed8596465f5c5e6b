package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"xebec.dev/deploy/internal/kubeadm"
)

// format is --output of verbs that print for people and for programs.
type format string

func (f *format) add(fs *pflag.FlagSet) {
	fs.StringVarP((*string)(f), "output", "o", "text", "Output format. One of: text|json|yaml.")
}

func (f format) check() error {
	switch f {
	case "text", "json", "yaml":
		return nil
	}
	return fmt.Errorf("invalid output format %q: expected text, json or yaml", string(f))
}

// print prints a value: as its own text, or as a document.
func (a *app) print(f format, v fmt.Stringer) error {
	if err := f.check(); err != nil {
		return err
	}
	switch f {
	case "json":
		raw, err := json.MarshalIndent(v, "", "    ")
		if err == nil {
			_, err = fmt.Fprintln(a.out, string(raw))
		}
		return err
	case "yaml":
		raw, err := yaml.Marshal(v)
		if err == nil {
			_, err = a.out.Write(raw)
		}
		return err
	}
	_, err := fmt.Fprint(a.out, v)
	return err
}

// migrateCommand writes a configuration as init or join would read it.
func (a *app) migrateCommand() *cobra.Command {
	var from, to string
	var experimental bool
	cmd := &cobra.Command{Use: "migrate", Short: "Read an older version of the kubeadm configuration API types from a file, and output the similar config object for the newer version",
		Long: "Reads a configuration, fills in what it leaves open, validates it and writes it in version " + kubeadm.APIVersion + ", as 'xebecadm init' or 'xebecadm join' would see it.",
		Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			if from == "" {
				return fmt.Errorf("the --old-config flag is mandatory")
			}
			f, err := kubeadm.LoadFile(from)
			if err != nil {
				return err
			}
			node, err := a.node()
			if err != nil {
				return err
			}
			raw, err := f.Migrated(node.Hostname, addressOrSample())
			if err != nil {
				return err
			}
			if to == "" {
				_, err = a.out.Write(raw)
				return err
			}
			return writeNew(to, raw)
		}}
	cmd.Flags().StringVar(&from, "old-config", "", "Path to the configuration file that is to be read. This flag is mandatory.")
	cmd.Flags().StringVar(&to, "new-config", "", "Path to the resulting configuration file. Optional, if not specified output will be sent to STDOUT.")
	cmd.Flags().BoolVar(&experimental, "allow-experimental-api", false, "Allow migration to experimental, unreleased APIs. There are none.")
	return cmd
}
