package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
)

// calm is how long nothing is written before a cluster counts as at rest.
const calm = 30 * time.Second

// quiet waits until nothing has been written for a while: what converges, ends.
// Leases are renewed and events told whatever happens.
func quiet(t *testing.T) {
	t.Helper()
	client, err := metadata.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	before, err := revisions(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	var differ []string
	for deadline := time.Now().Add(5 * time.Minute); ; {
		time.Sleep(calm)
		after, err := revisions(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		differ = nil
		for key, revision := range after {
			if before[key] != revision {
				differ = append(differ, fmt.Sprintf("%s: %q, then %q", key, before[key], revision))
			}
		}
		for key := range before {
			if after[key] == "" {
				differ = append(differ, key+": gone")
			}
		}
		if len(differ) == 0 {
			return
		}
		slices.Sort(differ)
		if time.Now().After(deadline) {
			t.Fatalf("objects are still written after five minutes of nothing to do:\n%s", strings.Join(differ, "\n"))
		}
		before = after
	}
}

// revisions of everything there is.
func revisions(ctx context.Context, client metadata.Interface) (map[string]string, error) {
	groups, err := api.Discovery().ServerPreferredResources()
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, g := range groups {
		gv, err := schema.ParseGroupVersion(g.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, r := range g.APIResources {
			if !slices.Contains(r.Verbs, "list") || r.Name == "events" || r.Name == "leases" {
				continue
			}
			list, err := client.Resource(gv.WithResource(r.Name)).List(ctx, metav1.ListOptions{})
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", r.Name, err)
			}
			for _, o := range list.Items {
				all[r.Name+" "+o.Namespace+"/"+o.Name] = o.ResourceVersion
			}
		}
	}
	return all, nil
}
