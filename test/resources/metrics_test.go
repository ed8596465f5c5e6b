package resources

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"xebec.dev/test/apiservertest"
)

// unserved are metrics that Kubernetes has and this server has not, by the
// beginning of their names, each with its reason.
var unserved = map[string]string{
	"aggregator_":                                                 "other API servers are the extension work's",
	"apiextensions_apiserver_":                                    "custom resources are the extension work's",
	"apiserver_cel_":                                              "CEL is the extension work's",
	"apiserver_flowcontrol_":                                      "priority and fairness is the extension work's",
	"apiserver_webhooks_":                                         "webhooks are the extension work's",
	"apiserver_kube_aggregator_":                                  "other API servers are the extension work's",
	"apiserver_cache_list_":                                       "lists are snapshots of the cache, never scans",
	"apiserver_envelope_encryption_":                              "of KMS plugins",
	"apiserver_storage_data_key_":                                 "of KMS plugins",
	"apiserver_storage_envelope_":                                 "of KMS plugins",
	"apiserver_storage_list_":                                     "lists do not reach etcd",
	"apiserver_storage_events_received_total":                     "events are counted where they are sent",
	"apiserver_storage_size_bytes":                                "etcd tells it: etcd_mvcc_db_total_size_in_bytes",
	"apiserver_watch_cache_":                                      "the cache is a ring of bytes; see watch_cache_capacity",
	"apiserver_watch_events_sizes":                                "an event is encoded once for all who watch",
	"apiserver_watch_list_duration_seconds":                       "a list that begins a watch is a snapshot",
	"apiserver_validation_":                                       "there is one validation, not two to compare",
	"apiserver_nodeport_repair_":                                  "failed repairs are in the log",
	"apiserver_request_filter_duration_seconds":                   "see authentication_ and authorization_duration_seconds",
	"apiserver_request_timestamp_comparison_time":                 "of Kubernetes' own development",
	"apiserver_selfrequest_total":                                 "the server makes no requests of itself",
	"apiserver_admission_step_admission_duration_seconds_summary": "the histogram tells the same",
	"cardinality_enforcement_":                                    "of Kubernetes' registry of metrics",
	"disabled_metrics_total":                                      "of Kubernetes' registry of metrics",
	"hidden_metrics_total":                                        "of Kubernetes' registry of metrics",
	"registered_metrics_total":                                    "of Kubernetes' registry of metrics",
	"etcd_bookmark_":                                              "of Kubernetes' client of etcd",
	"etcd_lease_object_counts":                                    "of Kubernetes' client of etcd",
	"field_validation_request_duration_seconds":                   "unknown fields are found on the way",
	"go_godebug_":                                                 "Go's, with a non-default setting",
	"grpc_client_":                                                "etcd's client is our own",
	"kube_apiserver_clusterip_allocator_allocation_":              "addresses are counted as they are",
	"kubernetes_feature_enabled":                                  "features are the level's, not gates",
	"pod_security_":                                               "see apiserver_admission_controller_admission_duration_seconds",
	"rest_client_":                                                "the server is nobody's client",
	"version_info":                                                "see kubernetes_build_info",
	"workqueue_":                                                  "the server has no work queues",
}

type metric struct{ kind, labels string }

// TestMetrics compares names, types and labels with those that a Kubernetes
// API server was recorded to have.
func TestMetrics(t *testing.T) {
	s := apiservertest.Start(t)
	client := s.Client(t)
	do := func(method, path, contentType, body string, header ...string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body) // its end is enough
		resp.Body.Close()
	}
	const maps = "/api/v1/namespaces/default/configmaps"
	do("POST", maps, "application/json", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`)
	do("POST", maps+"?dryRun=All", "application/json", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"}}`)
	do("PATCH", maps+"/a?fieldManager=m", applyPatch, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"b"}}`)
	do("GET", "/api/v1/componentstatuses", "", "")
	do("GET", maps+"?watch=1&timeoutSeconds=1", "", "")
	// What clients make up must not become labels.
	for _, path := range []string{maps + "/a/madeup", "/api/v1/madeup", "/apis/madeup/v1/things", "/madeup"} {
		do("GET", path, "", "")
	}
	do("MADEUP", maps, "", "")
	have, text := metricsOf(t, client, s.URL+"/metrics")
	if i := strings.Index(text, "madeup"); i >= 0 {
		t.Errorf("what a client made up is a label: %.300s", text[max(0, i-200):])
	}
	for _, series := range []string{
		`apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="configmaps",scope="namespace",subresource="",verb="POST",version="v1"} 1`,
		`apiserver_request_total{code="201",component="apiserver",dry_run="All",group="",resource="configmaps",scope="namespace",subresource="",verb="POST",version="v1"} 1`,
		`apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="",verb="APPLY",version="v1"} 1`,
		`apiserver_request_sli_duration_seconds_count{component="apiserver",group="",resource="configmaps",scope="namespace",subresource="",verb="POST",version="v1"} 2`,
		`apiserver_requested_deprecated_apis{group="",removed_release="",resource="componentstatuses",subresource="",version="v1"} 1`,
		`apiserver_longrunning_requests{component="apiserver",group="",resource="configmaps",scope="namespace",subresource="",verb="WATCH",version="v1"} 0`,
		`apiserver_watch_events_total{group="",resource="configmaps",version="v1"} 1`,
		`apiserver_storage_objects{resource="configmaps"} 3`,
		`etcd_requests_total{group="",operation="create",resource="configmaps"} 3`,
		`kube_apiserver_clusterip_allocator_allocated_ips{cidr="10.0.0.0/24"} 1`,
		`apiserver_current_inqueue_requests{request_kind="mutating"} 0`,
	} {
		if !strings.Contains(text, "\n"+series+"\n") {
			t.Errorf("there is no %s", series)
		}
	}
	recorded, err := os.ReadFile(filepath.Join("..", "observed", "static", "metrics-names.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(recorded)) {
		f := strings.Fields(line)
		if len(f) == 2 {
			f = append(f, "")
		}
		got, ok := have[f[0]]
		excused := ""
		for prefix, reason := range unserved {
			if strings.HasPrefix(f[0], prefix) {
				excused = reason
			}
		}
		switch want := (metric{f[1], f[2]}); {
		case !ok && excused == "":
			t.Errorf("%s is not served", f[0])
		case ok && got != want:
			t.Errorf("%s is %v, want %v", f[0], got, want)
		}
	}
	if _, text := metricsOf(t, client, s.URL+"/metrics/slis"); !strings.Contains(text, `kubernetes_healthcheck{name="etcd",type="readyz"} 1`) {
		t.Errorf("/metrics/slis: %s", text)
	}
}

// metricsOf reads types and labels; those of a histogram without le.
func metricsOf(t *testing.T, client *http.Client, url string) (map[string]metric, string) {
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	all := map[string]metric{}
	name := ""
	for lines := bufio.NewScanner(strings.NewReader(string(text))); lines.Scan(); {
		line := lines.Text()
		if f := strings.Fields(line); len(f) == 4 && f[0] == "#" && f[1] == "TYPE" {
			name = f[2]
			all[name] = metric{kind: f[3]}
			continue
		}
		_, rest, ok := strings.Cut(line, "{")
		if strings.HasPrefix(line, "#") || !ok {
			continue
		}
		var labels []string
		for _, part := range strings.Split(rest, `",`) {
			if key, _, ok := strings.Cut(part, `="`); ok && key != "le" {
				labels = append(labels, key)
			}
		}
		slices.Sort(labels)
		if m := all[name]; m.labels == "" {
			m.labels = strings.Join(labels, ",")
			all[name] = m
		}
	}
	return all, string(text)
}
