// Command gen writes the OpenAPI definitions of every API type, from the Go
// source in the module cache, to one compressed file that package openapi
// embeds.
//
// It runs Kubernetes' own openapi-gen as a library over the packages marked
// "+k8s:openapi-gen=true", which yields Go code; the code is compiled together
// with package dump and run, and what it prints is the file. It is a module of
// its own, so that nothing of this reaches a daemon's go.mod.
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"

	"k8s.io/gengo/v2"
	"k8s.io/gengo/v2/generator"
	"k8s.io/kube-openapi/cmd/openapi-gen/args"
	"k8s.io/kube-openapi/pkg/generators"
)

// scratch holds the intermediate Go code. The leading underscore keeps it out
// of "./..." should a run be interrupted.
const scratch = "_scratch"

// roots are the patterns whose marked packages are read.
var roots = []string{
	"k8s.io/api/...",
	"k8s.io/apimachinery/pkg/...",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1",
	"xebec.dev/api/...",
}

// skipped are marked packages that no API server serves, and this one.
var skipped = []string{"testapigroup", "api/openapi"}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: gen OUTPUT")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(output string) error {
	packages, err := marked(roots)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(scratch); err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	if err := generate(packages); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(scratch, "main.go"), program(packages), 0o644); err != nil {
		return err
	}
	data, err := command("go", "run", "./"+scratch)
	if err != nil {
		return err
	}
	return os.WriteFile(output, data, 0o644)
}

// marked lists the packages with the tag that asks for OpenAPI definitions,
// in a file of their own (doc.go) or beside a type.
func marked(patterns []string) ([]string, error) {
	list, err := command("go", append([]string{"list", "-e", "-find", "-f", "{{.ImportPath}}\t{{.Dir}}\t{{.GoFiles}}"}, patterns...)...)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, line := range strings.Split(strings.TrimSpace(string(list)), "\n") {
		f := strings.Split(line, "\t")
		if containsAny(f[0], skipped) {
			continue
		}
		for _, file := range strings.Fields(strings.Trim(f[2], "[]")) {
			source, err := os.ReadFile(filepath.Join(f[1], file))
			if err != nil {
				return nil, err
			}
			if bytes.Contains(source, []byte("// +k8s:openapi-gen=true")) {
				found = append(found, f[0])
				break
			}
		}
	}
	sort.Strings(found)
	return found, nil
}

func generate(packages []string) error {
	a := args.New()
	a.OutputDir, a.OutputPkg = filepath.Join(scratch, "defs"), "xebec.dev/api/openapi/gen/"+scratch+"/defs"
	a.OutputFile, a.ReportFilename = "defs.go", filepath.Join(scratch, "violations.txt")
	if err := os.MkdirAll(a.OutputDir, 0o755); err != nil {
		return err
	}
	return gengo.Execute(generators.NameSystems(), generators.DefaultNameSystem(),
		func(c *generator.Context) []generator.Target { return generators.GetOpenAPITargets(c, a, nil) },
		gengo.StdBuildTag, packages)
}

// program is a main that hands the generated definitions, and a scheme with
// every kind of the API packages, to package dump.
func program(packages []string) []byte {
	var b bytes.Buffer
	b.WriteString("package main\n\nimport (\n\t\"os\"\n\n\t\"xebec.dev/api/openapi/gen/dump\"\n\tdefs \"xebec.dev/api/openapi/gen/" + scratch + "/defs\"\n")
	var registered []string
	for i, p := range packages {
		if strings.HasPrefix(p, "k8s.io/apimachinery/") {
			continue // has no kinds of its own
		}
		name := fmt.Sprintf("p%d", i)
		fmt.Fprintf(&b, "\t%s %q\n", name, p)
		registered = append(registered, name)
	}
	b.WriteString(")\n\nfunc main() {\n\tdump.Main(os.Stdout, defs.GetOpenAPIDefinitions,\n")
	for _, name := range registered {
		fmt.Fprintf(&b, "\t\t%s.AddToScheme,\n", name)
	}
	b.WriteString("\t)\n}\n")
	return b.Bytes()
}

func command(name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return out, nil
}

func containsAny(s string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}
