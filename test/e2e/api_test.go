package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/yaml"

	"xebec.dev/test/cluster"
)

// kindCase is a resource whose whole life is lived in a cluster with all its
// controllers: they write too, and what a client wrote stays.
type kindCase struct {
	ids      string
	resource string // GROUP/VERSION/NAME; the core group is empty
	// object is without metadata; change is a merge patch of it, status one of
	// the status subresource.
	object, change, status string
	// approval is a merge patch of the subresource that only requests have.
	approval string
	cluster  bool // not in a namespace
}

const podTemplate = `template: {metadata: {labels: {app: none}}, spec: {containers: [{name: c, image: 'xebec.dev/busybox:v1', command: [sleep, '1000']}]}}`

var kinds = []kindCase{
	{ids: "AP-e878 CronJob", resource: "batch/v1/cronjobs",
		object: `{spec: {schedule: '0 0 1 1 *', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: c}]}}}}}}`,
		change: `{spec: {suspend: true}}`, status: `{status: {lastScheduleTime: '2026-01-01T00:00:00Z'}}`},
	{ids: "AP-6a06 AP-bcf9 DaemonSet", resource: "apps/v1/daemonsets",
		object: `{spec: {selector: {matchLabels: {app: none}}, template: {metadata: {labels: {app: none}}, spec: {nodeSelector: {no: such}, containers: [{name: c, image: c}]}}}}`,
		change: `{spec: {minReadySeconds: 3}}`, status: `{status: {conditions: [{type: StatusUpdate, status: 'True', reason: E2E, message: set}]}}`},
	{ids: "AP-b35b AP-90d6 Deployment", resource: "apps/v1/deployments",
		object: `{spec: {replicas: 0, selector: {matchLabels: {app: none}}, ` + podTemplate + `}}`,
		change: `{spec: {minReadySeconds: 3}}`, status: `{status: {conditions: [{type: StatusUpdate, status: 'True', reason: E2E, message: set}]}}`},
	{ids: "AP-4924 AP-4af1 ReplicaSet", resource: "apps/v1/replicasets",
		object: `{spec: {replicas: 0, selector: {matchLabels: {app: none}}, ` + podTemplate + `}}`,
		change: `{spec: {minReadySeconds: 3}}`, status: `{status: {conditions: [{type: StatusUpdate, status: 'True', reason: E2E, message: set}]}}`},
	{ids: "AP-e13f AP-47ec StatefulSet", resource: "apps/v1/statefulsets",
		object: `{spec: {serviceName: none, replicas: 0, selector: {matchLabels: {app: none}}, ` + podTemplate + `}}`,
		change: `{spec: {minReadySeconds: 3}}`, status: `{status: {conditions: [{type: StatusUpdate, status: 'True', reason: E2E, message: set}]}}`},
	{ids: "AP-0485 ReplicationController", resource: "/v1/replicationcontrollers",
		object: `{spec: {replicas: 0, selector: {app: none}, ` + podTemplate + `}}`,
		change: `{spec: {minReadySeconds: 3}}`, status: `{status: {conditions: [{type: StatusUpdate, status: 'True', reason: E2E, message: set}]}}`},
	{ids: "AP-b57f AP-375a Job", resource: "batch/v1/jobs",
		object: `{spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: c, image: c}]}}}}`,
		change: `{spec: {parallelism: 0}}`, status: `{status: {conditions: [{type: CustomConditionType, status: 'True', reason: E2E, message: set}]}}`},
	{ids: "AP-1983 AP-ae66 AP-842b PodDisruptionBudget", resource: "policy/v1/poddisruptionbudgets",
		object: `{spec: {minAvailable: 1, selector: {matchLabels: {app: none}}}}`,
		change: `{spec: {minAvailable: 2}}`},
	{ids: "AU-df88 AU-e0ad ServiceAccount", resource: "/v1/serviceaccounts", object: `{automountServiceAccountToken: true}`, change: `{automountServiceAccountToken: false}`},
	{ids: "AU-f830 CertificateSigningRequest", resource: "certificates.k8s.io/v1/certificatesigningrequests",
		object: `{spec: {request: REQUEST, signerName: example.com/e2e, usages: [client auth]}}`, status: `{status: {conditions: [{type: StatusUpdate, status: 'True', reason: E2E, message: set}]}}`,
		approval: `{status: {conditions: [{type: Approved, status: 'True', reason: E2E, message: fine}, {type: StatusUpdate, status: 'True', reason: E2E, message: set}]}}`, cluster: true},
	{ids: "IN-0d5e IN-f75a Event", resource: "/v1/events", object: `{involvedObject: {kind: Pod, name: p, namespace: NAMESPACE}, reason: Tested, message: one}`, change: `{message: two}`},
	{ids: "IN-3dfc Event of its own group", resource: "events.k8s.io/v1/events",
		object: `{regarding: {kind: Pod, name: p, namespace: NAMESPACE}, reason: Tested, note: one, type: Normal, action: Test, eventTime: '2026-01-01T00:00:00.000000Z', reportingController: e2e, reportingInstance: e2e-1}`,
		change: `{series: {count: 2, lastObservedTime: '2026-01-01T00:00:01.000000Z'}}`},
	{ids: "NE-9082 EndpointSlice", resource: "discovery.k8s.io/v1/endpointslices", object: `{addressType: IPv4, endpoints: [{addresses: [10.1.2.3]}], ports: [{name: a, port: 80, protocol: TCP}]}`, change: `{endpoints: [{addresses: [10.1.2.4]}]}`},
	{ids: "NE-fbba Endpoints", resource: "/v1/endpoints", object: `{subsets: [{addresses: [{ip: 10.1.2.3}], ports: [{name: a, port: 80}]}]}`, change: `{subsets: [{addresses: [{ip: 10.1.2.4}], ports: [{name: b, port: 81, protocol: TCP}]}]}`},
	{ids: "NE-2483 Ingress", resource: "networking.k8s.io/v1/ingresses", object: `{spec: {defaultBackend: {service: {name: none, port: {number: 80}}}}}`,
		change: `{spec: {ingressClassName: none}}`, status: `{status: {loadBalancer: {ingress: [{ip: 169.1.1.1}]}}}`},
	{ids: "NE-8290 IngressClass", resource: "networking.k8s.io/v1/ingressclasses", object: `{spec: {controller: example.com/c}}`, change: `{spec: {parameters: {kind: P, name: p, scope: Cluster}}}`, cluster: true},
	{ids: "NE-3625 NE-e9df Service", resource: "/v1/services", object: `{spec: {type: LoadBalancer, ports: [{port: 80, protocol: TCP}]}}`,
		change: `{spec: {sessionAffinity: ClientIP}}`, status: `{status: {loadBalancer: {ingress: [{ip: 203.0.113.1, ipMode: VIP}]}}}`},
	{ids: "NO-081d NO-7b74 ConfigMap", resource: "/v1/configmaps", object: `{data: {a: b}}`, change: `{data: {a: c}}`},
	{ids: "NO-7120 Secret", resource: "/v1/secrets", object: `{data: {a: YQ==}}`, change: `{data: {a: Yg==}}`},
	{ids: "NO-5301 NO-b43a PodTemplate", resource: "/v1/podtemplates", object: `{template: {spec: {containers: [{name: c, image: c}]}}}`, change: `{template: {metadata: {labels: {a: b}}}}`},
	{ids: "NO-f082 Pod", resource: "/v1/pods", object: `{spec: {nodeSelector: {no: such}, terminationGracePeriodSeconds: 0, containers: [{name: c, image: c}]}}`,
		change: `{spec: {activeDeadlineSeconds: 1000}}`, status: `{status: {message: set}}`},
	{ids: "NO-1366 Node", resource: "/v1/nodes", object: `{spec: {unschedulable: true}}`, change: `{spec: {providerID: 'e2e://none'}}`, status: `{status: {phase: Pending}}`, cluster: true},
	{ids: "NO-d0e9 RuntimeClass", resource: "node.k8s.io/v1/runtimeclasses", object: `{handler: none}`, change: `{scheduling: {nodeSelector: {no: such}}}`, cluster: true},
	{ids: "NO-fe89 DeviceClass", resource: "resource.k8s.io/v1/deviceclasses", object: `{spec: {}}`, change: `{spec: {selectors: [{cel: {expression: 'true'}}]}}`, cluster: true},
	{ids: "NO-e71a ResourceClaim", resource: "resource.k8s.io/v1/resourceclaims", object: `{spec: {devices: {requests: [{name: a, exactly: {deviceClassName: none, allocationMode: ExactCount, count: 1}}]}}}`},
	{ids: "NO-00bd ResourceClaimTemplate", resource: "resource.k8s.io/v1/resourceclaimtemplates", object: `{spec: {spec: {devices: {requests: [{name: a, exactly: {deviceClassName: none, allocationMode: ExactCount, count: 1}}]}}}}`},
	{ids: "NO-4a5e ResourceSlice", resource: "resource.k8s.io/v1/resourceslices", object: `{spec: {driver: example.com, nodeName: none, pool: {name: p, generation: 1, resourceSliceCount: 1}}}`, change: `{spec: {devices: [{name: d}]}}`, cluster: true},
	{ids: "SC-12bc LimitRange", resource: "/v1/limitranges", object: `{spec: {limits: [{type: Container, min: {cpu: 1m}, max: {cpu: '64'}}]}}`, change: `{spec: {limits: [{type: Container, min: {cpu: 2m}, max: {cpu: '64'}}]}}`},
	{ids: "ST-4153 CSIDriver", resource: "storage.k8s.io/v1/csidrivers", object: `{spec: {attachRequired: false}}`, change: `{spec: {requiresRepublish: true}}`, cluster: true},
	{ids: "ST-5422 CSIStorageCapacity", resource: "storage.k8s.io/v1/csistoragecapacities", object: `{storageClassName: none}`, change: `{capacity: 1Gi}`},
	{ids: "ST-9b48 ST-3a05 VolumeAttachment", resource: "storage.k8s.io/v1/volumeattachments", object: `{spec: {attacher: example.com, nodeName: none, source: {persistentVolumeName: none}}}`,
		status: `{status: {attached: true}}`, cluster: true},
	{ids: "ST-4935 VolumeAttributesClass", resource: "storage.k8s.io/v1/volumeattributesclasses", object: `{driverName: example.com, parameters: {a: b}}`, cluster: true},
	{ids: "ST-289f PersistentVolume", resource: "/v1/persistentvolumes", object: `{spec: {capacity: {storage: 1Mi}, accessModes: [ReadWriteOnce], storageClassName: e2e-none, hostPath: {path: /tmp/none}}}`,
		change: `{spec: {capacity: {storage: 2Mi}}}`, status: `{status: {reason: e2e, message: set}}`, cluster: true},
	{ids: "ST-289f PersistentVolumeClaim", resource: "/v1/persistentvolumeclaims", object: `{spec: {accessModes: [ReadWriteOnce], storageClassName: e2e-nothing, resources: {requests: {storage: 1Mi}}}}`,
		status: `{status: {conditions: [{type: StatusUpdate, status: 'True', reason: E2E, message: set}]}}`},
	{ids: "ST-5ac3 Pod with an inline CSI volume", resource: "/v1/pods", object: `{spec: {nodeSelector: {no: such}, terminationGracePeriodSeconds: 0, containers: [{name: c, image: c}], volumes: [{name: v, csi: {driver: example.com}}]}}`,
		change: `{spec: {activeDeadlineSeconds: 1000}}`},
	{ids: "NE-a075 IPAddress", resource: "networking.k8s.io/v1/ipaddresses", object: `{spec: {parentRef: {group: '', resource: services, namespace: default, name: none}}}`, cluster: true},
}

// TestKinds takes each kind through its life: discovery, creation, lists,
// watches, patches, updates, status, deletion of one and of a collection.
func TestKinds(t *testing.T) {
	t.Parallel()
	u := newUser(t, "kinds")
	other := newUser(t, "kinds-too")
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range kinds {
		t.Run(k.ids, func(t *testing.T) {
			l := &life{kindCase: k, t: t, ctx: t.Context(), all: client.Resource(k.gvr()), label: fmt.Sprintf("k%d", i)}
			l.objects, l.elsewhere = l.all, l.all
			if !k.cluster {
				l.namespaces = [2]string{u.namespace, other.namespace}
				l.objects, l.elsewhere = l.all.Namespace(u.namespace), l.all.Namespace(other.namespace)
			}
			l.live()
		})
	}
}

func (k kindCase) gvr() schema.GroupVersionResource {
	w := strings.Split(k.resource, "/")
	return schema.GroupVersionResource{Group: w[0], Version: w[1], Resource: w[2]}
}

type life struct {
	kindCase
	t                  *testing.T
	ctx                context.Context
	all                dynamic.NamespaceableResourceInterface
	objects, elsewhere dynamic.ResourceInterface
	namespaces         [2]string
	label              string
}

func (l *life) fatal(what string, err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
}

// name of the i-th object; addresses are called by themselves.
func (l *life) name(i int) string {
	if strings.HasSuffix(l.resource, "ipaddresses") {
		return fmt.Sprintf("10.111.0.%d", i+1)
	}
	return fmt.Sprintf("%s-%d", l.label, i)
}

// make gives the i-th object; the fourth is for the other namespace.
func (l *life) make(kind string, i int) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	text := strings.NewReplacer("NAMESPACE", l.namespaces[i/3], "REQUEST", certificateRequest(l.t)).Replace(l.object)
	l.fatal("fixture", yaml.Unmarshal([]byte(text), &o.Object))
	o.SetAPIVersion(l.gvr().GroupVersion().String())
	o.SetKind(kind)
	o.SetName(l.name(i))
	l.mark(o, l.label)
	return o
}

// mark sets the label; addresses say whose they are, or a controller's loop
// takes them for its own.
func (l *life) mark(o *unstructured.Unstructured, life string) {
	labels := map[string]string{"life": life}
	if strings.HasSuffix(l.resource, "ipaddresses") {
		labels["ipaddress.kubernetes.io/managed-by"], labels["ipaddress.kubernetes.io/ip-family"] = "e2e", "IPv4"
	}
	o.SetLabels(labels)
}

// discovered is the kind as discovery has it, with all verbs.
func (l *life) discovered() string {
	list, err := api.Discovery().ServerResourcesForGroupVersion(l.gvr().GroupVersion().String())
	l.fatal("discovery", err)
	kind := ""
	var status bool
	for _, r := range list.APIResources {
		switch r.Name {
		case l.gvr().Resource:
			kind = r.Kind
			for _, v := range []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"} {
				if !slices.Contains(r.Verbs, v) {
					l.t.Errorf("discovery has no verb %s: %v", v, r.Verbs)
				}
			}
		case l.gvr().Resource + "/status":
			status = true
		}
	}
	if kind == "" || l.status != "" && !status {
		l.t.Fatalf("discovery does not have it, or not its status: %v", list.APIResources)
	}
	return kind
}

func (l *life) live() {
	kind := l.discovered()
	selector := metav1.ListOptions{LabelSelector: "life=" + l.label}
	list, err := l.all.List(l.ctx, selector)
	l.fatal("list of nothing", err)
	w, err := l.all.Watch(l.ctx, metav1.ListOptions{LabelSelector: selector.LabelSelector, ResourceVersion: list.GetResourceVersion()})
	l.fatal("watch", err)
	defer w.Stop()
	made, err := l.objects.Create(l.ctx, l.make(kind, 0), metav1.CreateOptions{})
	l.fatal("create", err)
	l.event(w, watch.Added, func(o *unstructured.Unstructured) bool { return o.GetUID() == made.GetUID() })
	_, err = l.objects.Create(l.ctx, l.make(kind, 0), metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		l.t.Errorf("created again: %v", err)
	}
	_, err = l.objects.Patch(l.ctx, l.name(0), types.MergePatchType, []byte(`{"metadata":{"labels":{"patched":"yes"}}}`), metav1.PatchOptions{})
	l.fatal("patch of a label", err)
	l.event(w, watch.Modified, func(o *unstructured.Unstructured) bool { return o.GetLabels()["patched"] == "yes" })
	if l.change != "" {
		l.patch(l.change, "")
		l.event(w, watch.Modified, func(o *unstructured.Unstructured) bool { return l.covers(o, l.change) == nil })
	}
	l.fatal("update", l.update(func(o *unstructured.Unstructured) { o.SetAnnotations(map[string]string{"updated": "yes"}) }, ""))
	l.event(w, watch.Modified, func(o *unstructured.Unstructured) bool { return o.GetAnnotations()["updated"] == "yes" })
	if l.status != "" {
		l.statusLife(w)
	}
	if l.approval != "" {
		l.patch(l.approval, "approval")
		l.event(w, watch.Modified, func(o *unstructured.Unstructured) bool { return l.covers(o, l.approval) == nil })
	}
	l.collection(kind, selector, w)
}

func (l *life) patch(doc string, subresource ...string) {
	l.t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(doc))
	l.fatal("fixture", err)
	if subresource[0] == "" {
		subresource = nil
	}
	_, err = l.objects.Patch(l.ctx, l.name(0), types.MergePatchType, raw, metav1.PatchOptions{}, subresource...)
	l.fatal("patch "+doc, err)
}

// update changes what there is now: others write too.
func (l *life) update(change func(*unstructured.Unstructured), subresource string) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		o, err := l.objects.Get(l.ctx, l.name(0), metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(o)
		if subresource == "" {
			_, err = l.objects.Update(l.ctx, o, metav1.UpdateOptions{})
		} else {
			_, err = l.objects.UpdateStatus(l.ctx, o, metav1.UpdateOptions{})
		}
		return err
	})
}

func (l *life) statusLife(w watch.Interface) {
	l.patch(l.status, "status")
	l.event(w, watch.Modified, func(o *unstructured.Unstructured) bool { return l.covers(o, l.status) == nil })
	got, err := l.objects.Get(l.ctx, l.name(0), metav1.GetOptions{}, "status")
	l.fatal("get of the status", err)
	if err := l.covers(got, l.status); err != nil {
		l.t.Errorf("the status: %v", err)
	}
	l.fatal("update of the status", l.update(func(o *unstructured.Unstructured) {
		a := o.GetAnnotations()
		a["status"] = "updated"
		o.SetAnnotations(a)
		var doc map[string]any
		l.fatal("fixture", yaml.Unmarshal([]byte(l.status), &doc))
		merge(o.Object, doc)
	}, "status"))
	if got, err = l.objects.Get(l.ctx, l.name(0), metav1.GetOptions{}); err != nil || l.covers(got, l.status) != nil {
		l.t.Errorf("after the update of the status: %v, %v", l.covers(got, l.status), err)
	}
}

// collection deletes one by name, and the others by their label, in their own
// namespace only.
func (l *life) collection(kind string, selector metav1.ListOptions, w watch.Interface) {
	want := 1
	for i := 1; i <= 2; i++ {
		_, err := l.objects.Create(l.ctx, l.make(kind, i), metav1.CreateOptions{})
		l.fatal("create", err)
		want++
	}
	spared := l.make(kind, 3)
	if l.cluster {
		l.mark(spared, "spared")
	} else {
		want++ // seen from above all namespaces
	}
	_, err := l.elsewhere.Create(l.ctx, spared, metav1.CreateOptions{})
	l.fatal("create another", err)
	list, err := l.all.List(l.ctx, selector)
	l.fatal("list", err)
	if len(list.Items) != want {
		l.t.Errorf("a list of all namespaces by label has %d objects, expected %d", len(list.Items), want)
	}
	l.fatal("delete", l.objects.Delete(l.ctx, l.name(0), metav1.DeleteOptions{}))
	l.event(w, watch.Deleted, func(o *unstructured.Unstructured) bool { return o.GetName() == l.name(0) })
	if _, err := l.objects.Get(l.ctx, l.name(0), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		l.t.Errorf("it is deleted, and to be had: %v", err)
	}
	l.fatal("delete the collection", l.objects.DeleteCollection(l.ctx, metav1.DeleteOptions{}, selector))
	cluster.Eventually(l.t, "the collection is gone", func() error {
		list, err := l.objects.List(l.ctx, selector)
		if err == nil && len(list.Items) > 0 {
			err = fmt.Errorf("%d objects are left", len(list.Items))
		}
		return err
	})
	_, err = l.elsewhere.Get(l.ctx, l.name(3), metav1.GetOptions{})
	l.fatal("what the collection does not have", err)
	l.fatal("delete", l.elsewhere.Delete(l.ctx, l.name(3), metav1.DeleteOptions{}))
}

// event waits for one of a kind.
func (l *life) event(w watch.Interface, kind watch.EventType, is func(*unstructured.Unstructured) bool) {
	l.t.Helper()
	end := time.After(limit)
	for {
		select {
		case e, open := <-w.ResultChan():
			if !open {
				l.t.Fatal("the watch ended")
			}
			if o, ok := e.Object.(*unstructured.Unstructured); ok && e.Type == kind && is(o) {
				return
			}
		case <-end:
			l.t.Fatalf("no such %s event", kind)
		}
	}
}

// merge lays one document over another; lists are replaced.
func merge(into, doc map[string]any) {
	for k, v := range doc {
		have, both := into[k].(map[string]any)
		if m, ok := v.(map[string]any); ok && both {
			merge(have, m)
		} else {
			into[k] = v
		}
	}
}

// covers says what an object lacks of a document. A list must have the
// document's items; controllers add theirs.
func (l *life) covers(o *unstructured.Unstructured, doc string) error {
	if o == nil {
		return errors.New("there is no object")
	}
	var want map[string]any
	if err := yaml.Unmarshal([]byte(doc), &want); err != nil {
		return err
	}
	return lacks(want, o.Object, "")
}

func lacks(want, have any, path string) error {
	switch w := want.(type) {
	case map[string]any:
		h, _ := have.(map[string]any)
		for k, v := range w {
			if err := lacks(v, h[k], path+"."+k); err != nil {
				return err
			}
		}
	case []any:
		h, _ := have.([]any)
		for _, item := range w {
			if !slices.ContainsFunc(h, func(x any) bool { return lacks(item, x, path) == nil }) {
				return fmt.Errorf("%s has no %v: %v", path, item, have)
			}
		}
	default:
		if fmt.Sprint(want) != fmt.Sprint(have) {
			return fmt.Errorf("%s is %v, expected %v", path, have, want)
		}
	}
	return nil
}

// certificateRequest is a request in base64, of a key that nobody keeps.
var certificateRequest = func() func(*testing.T) string {
	var once sync.Once
	var text string
	return func(t *testing.T) string {
		once.Do(func() {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "e2e"}}, key)
			if err != nil {
				t.Fatal(err)
			}
			text = base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
		})
		return text
	}
}()
