package volume

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/builtin"
	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/client/clienttest"
	"xebec.dev/client/stream"
	"xebec.dev/kubelet/internal/env"
	"xebec.dev/kubelet/internal/object"
)

// needRoot: mounts are made for real.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test mounts file systems: run it as root")
	}
}

type fixture struct {
	*Manager
	api  *client.Client
	root string
}

// start runs a manager against an API server in memory.
func start(t *testing.T) *fixture {
	t.Helper()
	needRoot(t)
	api := clienttest.New(t, builtin.Scheme()).Client(t)
	s := stream.New(api, stream.Options{})
	objects := object.New(api, s, object.Options{})
	root := t.TempDir()
	m := New(Options{RootDir: root, Node: "n", API: api, Objects: objects, NodeObject: func() *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"zone": "a"}}, Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("1Gi"),
		}}}
	}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 3)
	for _, run := range []func(context.Context) error{s.Run, objects.Run, m.Run} {
		go func() {
			_ = run(ctx) // ends with ctx
			done <- struct{}{}
		}()
	}
	t.Cleanup(func() {
		cancel()
		for range 3 {
			<-done
		}
		for _, uid := range m.Orphans(func(types.UID) bool { return false }) {
			if err := m.Remove(context.Background(), uid); err != nil {
				t.Error(err)
			}
		}
	})
	return &fixture{Manager: m, api: api, root: root}
}

func create[T scheme.Object](t *testing.T, f *fixture, o T) T {
	t.Helper()
	out, err := client.Create(t.Context(), f.api, o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// pod has a container that mounts all the volumes.
func pod(volumes ...corev1.Volume) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p", UID: "11111111-2222-3333-4444-555555555555", Labels: map[string]string{"app": "web", "tier": "a\"b"}}}
	p.Spec.Containers = []corev1.Container{{Name: "c"}}
	for _, v := range volumes {
		p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: v.Name, MountPath: "/" + v.Name})
	}
	p.Spec.Volumes = volumes
	return p
}

func configVolume(name, of string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: of}}}}
}

func config(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Data: data}
}

// tree prints what a container sees of a directory.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		walk(t, &b, dir, e.Name())
	}
	return b.String()
}

func walk(t *testing.T, b *strings.Builder, dir, path string) {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, path))
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	if info.IsDir() {
		entries, err := os.ReadDir(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(b, "%s %d:%d %s/\n", info.Mode(), st.Uid, st.Gid, path)
		for _, e := range entries {
			walk(t, b, dir, filepath.Join(path, e.Name()))
		}
		return
	}
	raw, err := os.ReadFile(filepath.Join(dir, path))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(b, "%s %d:%d %s %q\n", info.Mode(), st.Uid, st.Gid, path, raw)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func expect(t *testing.T, have, want string) {
	t.Helper()
	if have != want {
		t.Errorf("have:\n%s\nwant:\n%s", have, want)
	}
}

func TestContentFollowsItsObjects(t *testing.T) {
	f := start(t)
	create(t, f, config("settings", map[string]string{"a": "1", "b": "2"}))
	p := pod(configVolume("v", "settings"))
	if err := f.Setup(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(f.root, "pods", string(p.UID), "volumes", "kubernetes.io~configmap", "v")
	expect(t, tree(t, dir), "-rw-r--r-- 0:0 a \"1\"\n-rw-r--r-- 0:0 b \"2\"\n")
	first, err := os.Readlink(filepath.Join(dir, "..data"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Setup(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if again, _ := os.Readlink(filepath.Join(dir, "..data")); again != first {
		t.Errorf("an unchanged volume was written again: %s after %s", again, first)
	}
	c, err := client.Get[*corev1.ConfigMap](t.Context(), f.api, "default", "settings")
	if err != nil {
		t.Fatal(err)
	}
	c.Data = map[string]string{"b": "3", "c": "4"}
	if _, err := client.Update(t.Context(), f.api, c); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the change reaches the volume", func() bool {
		_, err := os.Lstat(filepath.Join(dir, "a"))
		return os.IsNotExist(err)
	})
	eventually(t, "the old content goes", func() bool {
		_, err := os.Lstat(filepath.Join(dir, first))
		return os.IsNotExist(err)
	})
	expect(t, tree(t, dir), "-rw-r--r-- 0:0 b \"3\"\n-rw-r--r-- 0:0 c \"4\"\n")
}

func TestOptionalObjectComesAndGoes(t *testing.T) {
	f := start(t)
	yes := true
	v := configVolume("v", "later")
	v.ConfigMap.Optional = &yes
	p := pod(v)
	if err := f.Setup(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(f.contentDir(p, &v), "k")
	create(t, f, config("later", map[string]string{"k": "x"}))
	eventually(t, "the file comes", func() bool { raw, _ := os.ReadFile(file); return string(raw) == "x" })
	if err := client.Delete[*corev1.ConfigMap](t.Context(), f.api, "default", "later"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the file goes", func() bool { _, err := os.Lstat(file); return os.IsNotExist(err) })
}

func TestSecretsAreInMemoryAndOwned(t *testing.T) {
	f := start(t)
	create(t, f, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "s"}, Data: map[string][]byte{"user": []byte("u"), "key": []byte("k")}})
	mode, group := int32(0o440), int64(1001)
	v := corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: "s", DefaultMode: &mode, Items: []corev1.KeyToPath{{Key: "user", Path: "user"}, {Key: "key", Path: "deep/er/key"}},
	}}}
	p := pod(v)
	p.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: &group}
	if err := f.Setup(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	dir := f.contentDir(p, &v)
	expect(t, tree(t, dir), `dgrwxr-xr-x 0:1001 deep/
dgrwxr-xr-x 0:1001 deep/er/
-r--r----- 0:1001 deep/er/key "k"
-r--r----- 0:1001 user "u"
`)
	if on, err := isMount(dir); err != nil || !on {
		t.Errorf("the secret is not in memory: %v", err)
	}
	if err := f.Setup(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if at, err := mountsBelow(dir); err != nil || len(at) != 1 {
		t.Errorf("mounts after a second setup: %q %v", at, err)
	}
	if err := f.Teardown(t.Context(), p.UID); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(f.PodDir(p.UID), "volumes")); !os.IsNotExist(err) {
		t.Errorf("volumes are left: %v", err)
	}
	if f.o.Objects.Len() != 0 {
		t.Error("objects of the pod are still followed")
	}
	if err := f.Setup(t.Context(), p); err != nil { // of a pod that comes back
		t.Fatal(err)
	}
}

func TestProjectedDownward(t *testing.T) {
	f := start(t)
	create(t, f, config("c", map[string]string{"k": "v"}))
	quarter := int32(0o400)
	v := corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "c"}}},
		{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
			{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}},
			{Path: "cpu", ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: "c", Resource: "limits.cpu"}},
			{Path: "memory", Mode: &quarter, ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: "c", Resource: "requests.memory", Divisor: resource.MustParse("1Mi")}},
		}}},
	}}}}
	p := pod(v)
	p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1500Ki")}
	if err := f.Setup(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	expect(t, tree(t, f.contentDir(p, &v)), `-rw-r--r-- 0:0 cpu "2"
-rw-r--r-- 0:0 k "v"
-rw-r--r-- 0:0 labels "app=\"web\"\ntier=\"a\\\"b\""
-r-------- 0:0 memory "2"
`)
}

func TestLabelsFollow(t *testing.T) {
	f := start(t)
	v := corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
		{Path: "app", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['app']"}},
	}}}}
	p := pod(v)
	f.Seen(p) // nothing is known of it yet
	if err := f.Setup(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	p = p.DeepCopy()
	p.Labels["app"] = "other"
	f.Seen(p)
	eventually(t, "the label reaches the file", func() bool {
		raw, _ := os.ReadFile(filepath.Join(f.contentDir(p, &v), "app"))
		return string(raw) == "other"
	})
}

func TestWhatEventsSay(t *testing.T) {
	f := start(t)
	create(t, f, config("c", map[string]string{"k": "v"}))
	dir := corev1.HostPathDirectory
	size := resource.MustParse("1Mi")
	item := configVolume("item", "c")
	item.ConfigMap.Items = []corev1.KeyToPath{{Key: "none", Path: "x"}}
	claim := create(t, f, &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "loose"},
		Spec:       corev1.PersistentVolumeClaimSpec{AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: size}}},
	})
	p := pod(
		configVolume("a", "missing"),
		corev1.Volume{Name: "b", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "missing"}}},
		item,
		corev1.Volume{Name: "h", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/does/not/exist", Type: &dir}}},
		corev1.Volume{Name: "e", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumHugePages}}},
		corev1.Volume{Name: "n", VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "s", Path: "/"}}},
		corev1.Volume{Name: "p", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name}}},
		corev1.Volume{Name: "i", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "none.example.com"}}},
		corev1.Volume{Name: "j", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "x"}}},
			{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "y"}}},
		}}}},
	)
	err := f.Setup(t.Context(), p)
	if err == nil {
		t.Fatal("nothing was refused")
	}
	expect(t, strings.ReplaceAll(err.Error(), "; ", "\n"), `MountVolume.SetUp failed for volume "a" : configmap "missing" not found
MountVolume.SetUp failed for volume "b" : secret "missing" not found
MountVolume.SetUp failed for volume "item" : configmap references non-existent config key: none
MountVolume.SetUp failed for volume "h" : hostPath type check failed: /does/not/exist is not a directory
MountVolume.SetUp failed for volume "e" : the medium "HugePages" of an emptyDir is not supported by this kubelet: use "Memory" or none
MountVolume.SetUp failed for volume "n" : no volume plugin matched: volumes of kind nfs are not supported by this kubelet
use a PersistentVolumeClaim with a CSI driver
Unable to attach or mount volumes: unmounted volumes=[p], unattached volumes=[], failed to process volumes=[p]: error processing PVC default/loose: PVC is not bound
MountVolume.SetUp failed for volume "i" : kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: driver name none.example.com not found in the list of registered CSI drivers
MountVolume.SetUp failed for volume "j" : [configmap "x" not found, secret "y" not found]`)
}

func TestEmptyDir(t *testing.T) {
	f := start(t)
	size, group := resource.MustParse("1Mi"), int64(77)
	disk := corev1.Volume{Name: "disk", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
	memory := corev1.Volume{Name: "memory", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: &size}}}
	p := pod(disk, memory)
	p.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: &group}
	for range 2 {
		if err := f.Setup(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"disk", "memory"} {
		info, err := os.Stat(f.dir(p.UID, pluginEmptyDir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != os.ModeDir|os.ModeSetgid|0o777 || info.Sys().(*syscall.Stat_t).Gid != 77 {
			t.Errorf("%s: %v", name, info.Mode())
		}
	}
	if err := os.WriteFile(filepath.Join(f.dir(p.UID, pluginEmptyDir, "memory"), "x"), make([]byte, 2<<20), 0o644); err == nil {
		t.Error("two megabytes fit into a volume of one")
	}
	if err := os.WriteFile(filepath.Join(f.dir(p.UID, pluginEmptyDir, "disk"), "x"), make([]byte, 2<<20), 0o644); err != nil {
		t.Error(err)
	}
	for _, u := range f.Usage(p) {
		switch {
		case u.Name == "disk" && (u.UsedBytes < 2<<20 || u.UsedBytes > 3<<20 || !u.Ephemeral || u.UsedInodes != 2):
			t.Errorf("disk: %+v", u)
		case u.Name == "memory" && (u.CapacityBytes != 1<<20 || u.Ephemeral):
			t.Errorf("memory: %+v", u)
		}
	}
	mounts, _, err := f.Mounts(t.Context(), p, &p.Spec.Containers[0], nil)
	if err != nil || len(mounts) != 2 || mounts[0].HostPath != f.dir(p.UID, pluginEmptyDir, "disk") || mounts[0].Readonly {
		t.Errorf("%v %v", mounts, err)
	}
}

func TestLocalVolume(t *testing.T) {
	f := start(t)
	from := t.TempDir()
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}
	claim := create(t, f, &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "data"},
		Spec:       corev1.PersistentVolumeClaimSpec{VolumeName: "pv", AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Resources: corev1.VolumeResourceRequirements{Requests: size}},
	})
	claim.Status.Phase = corev1.ClaimBound
	claim, err := client.UpdateStatus(t.Context(), f.api, claim)
	if err != nil {
		t.Fatal(err)
	}
	create(t, f, &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}, Spec: corev1.PersistentVolumeSpec{
		Capacity: size, AccessModes: claim.Spec.AccessModes,
		ClaimRef:               &corev1.ObjectReference{Namespace: "default", Name: "data", UID: claim.UID},
		PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: from}},
		NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
			{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "zone", Operator: corev1.NodeSelectorOpIn, Values: []string{"a"}}}},
		}}},
	}})
	p := pod(corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}})
	if err := f.Setup(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	mounts, _, err := f.Mounts(t.Context(), p, &p.Spec.Containers[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mounts[0].HostPath, "kept"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(t.Context(), p.UID); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(from, "kept")); err != nil {
		t.Errorf("what the pod wrote is gone with it: %v", err)
	}
	if _, err := os.Stat(f.PodDir(p.UID)); !os.IsNotExist(err) {
		t.Errorf("the pod's directory is left: %v", err)
	}
}

func TestSubPathOfContent(t *testing.T) {
	f := start(t)
	create(t, f, config("c", map[string]string{"k": "one"}))
	p := pod(configVolume("v", "c"))
	p.Spec.Containers[0].VolumeMounts[0].SubPath = "k"
	mount := func() string {
		t.Helper()
		if err := f.Setup(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		mounts, _, err := f.Mounts(t.Context(), p, &p.Spec.Containers[0], nil)
		if err != nil {
			t.Fatal(err)
		}
		if !mounts[0].Readonly || mounts[0].HostPath != filepath.Join(f.PodDir(p.UID), "volume-subpaths", "v", "c", "0") {
			t.Errorf("%v", mounts[0])
		}
		return mounts[0].HostPath
	}
	at := mount()
	read := func() string { raw, _ := os.ReadFile(at); return string(raw) }
	expect(t, read(), "one")
	c, err := client.Get[*corev1.ConfigMap](t.Context(), f.api, "default", "c")
	if err != nil {
		t.Fatal(err)
	}
	c.Data["k"] = "two"
	if _, err := client.Update(t.Context(), f.api, c); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the volume changes", func() bool {
		raw, _ := os.ReadFile(filepath.Join(f.contentDir(p, &p.Spec.Volumes[0]), "k"))
		return string(raw) == "two"
	})
	expect(t, read(), "one") // until the container starts again
	at = mount()
	expect(t, read(), "two")
	if on, _ := mountsBelow(f.subPathDir(p.UID)); len(on) != 1 {
		t.Errorf("mounts: %q", on)
	}
}

func TestSubPathExpr(t *testing.T) {
	vars := []env.Variable{{Name: "POD", Value: "web-0"}, {Name: "ROOT", Value: "/etc"}, {Name: "UP", Value: "../x"}}
	for expr, want := range map[string]string{
		"$(POD)/log": "web-0/log",
		"$(NONE)":    `error: missing value for "NONE"`,
		"$(ROOT)/x":  "error: error SubPath `/etc/x` must not be an absolute path",
		"a/$(UP)":    "error: unable to provision SubPath `a/../x`: must not contain '..'",
		"$(POD)..":   "web-0..",
		"`hostname`": "`hostname`",
		"$$(POD)":    "$(POD)",
	} {
		have, err := subPath(&corev1.VolumeMount{SubPathExpr: expr}, vars)
		if err != nil {
			have = "error: " + err.Error()
		}
		if have != want {
			t.Errorf("%s: have %s, want %s", expr, have, want)
		}
	}
}

func TestReadFileStaysInTheVolume(t *testing.T) {
	f := start(t)
	v := corev1.Volume{Name: "e", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
	p := pod(v)
	if err := f.Setup(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	dir := f.dir(p.UID, pluginEmptyDir, "e")
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "env"), []byte("A='b'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if raw, err := f.ReadFile(p, "e", "env", 100); err != nil || string(raw) != "A='b'\n" {
		t.Errorf("%q %v", raw, err)
	}
	for _, path := range []string{"out", "pipe", "../../x", "/etc/passwd", "."} {
		if raw, err := f.ReadFile(p, "e", path, 1<<20); err == nil {
			t.Errorf("%s was read: %q", path, raw)
		}
	}
	if _, err := f.ReadFile(p, "e", "env", 3); err == nil {
		t.Error("a file longer than allowed was read")
	}
}
