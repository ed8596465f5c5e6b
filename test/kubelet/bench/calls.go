package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"xebec.dev/test/kubelet/nodetest"
)

// counters are metrics by name and labels.
type counters map[string]float64

// counted gives what the kubelet asks of the runtime, and what is written to
// the API.
func counted(ctx context.Context, n *nodetest.Node) (counters, error) {
	out := counters{}
	for _, path := range []string{"/api/v1/nodes/" + n.Name + "/proxy/metrics", "/metrics"} {
		raw, err := n.Client.CoreV1().RESTClient().Get().AbsPath(path).DoRaw(ctx)
		if err != nil {
			return nil, fmt.Errorf("ask %s: %w", path, err)
		}
		for line := range strings.Lines(string(raw)) {
			if err := out.add(strings.TrimSpace(line)); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// add counts a line of metrics if it is of interest.
func (c counters) add(line string) error {
	name, value, ok := strings.Cut(line, "} ")
	what, rest, _ := strings.Cut(name, "{")
	if !ok || what != "kubelet_runtime_operations_total" && what != "apiserver_request_total" {
		return nil
	}
	labels := map[string]string{}
	for pair := range strings.SplitSeq(rest, ",") {
		k, v, _ := strings.Cut(pair, "=")
		labels[k] = strings.Trim(v, `"`)
	}
	v, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return fmt.Errorf("metric %s: %w", name, err)
	}
	label := labels["operation_type"]
	if label == "" {
		if slices.Contains([]string{"GET", "LIST", "WATCH", "CONNECT"}, labels["verb"]) {
			return nil
		}
		label = strings.TrimSuffix(labels["verb"]+" "+labels["resource"]+"/"+labels["subresource"], "/")
	}
	c[label] += v
	return nil
}

// perPod prints how often each was done for each of n pods since before.
func (c counters) perPod(before counters, n int) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(c)) {
		if d := c[k] - before[k]; d > 0 {
			out = append(out, fmt.Sprintf("%s %.2f", k, d/float64(n)))
		}
	}
	return strings.Join(out, ", ")
}
