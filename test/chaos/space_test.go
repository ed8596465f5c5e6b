package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/test/chaos/history"
)

// TestFullEtcd is F05: etcd's space is used up. Writes are refused, and say
// why; reads and watches go on; what is deleted makes room, and then the same
// server takes writes again.
func TestFullEtcd(t *testing.T) {
	e := startEtcd(t, "--quota-backend-bytes="+fmt.Sprint(24<<20))
	s := over(t, "http://"+e.host)
	prepare(t, s)
	d := restDoor(t, s)
	rec := history.NewRecorder()
	begin := list(t, rec, d)
	f := &follower{name: "a watch", door: d}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	done := make(chan struct{})
	go func() { f.run(ctx, begin.Revision); close(done) }()

	w := newWriter(rec, 1, 100)
	big := strings.Repeat("x", 900<<10)
	var kept []string
	var refused *metav1.Status
	for i := 0; refused == nil; i++ {
		if i > 100 {
			t.Fatal("a hundred megabytes went into an etcd of twenty-four")
		}
		key := fmt.Sprintf("big%02d", i)
		refused = write(ctx, t, d, key, big)
		// etcd does the write that finds no space in the middle of being done.
		if refused == nil || w.op(ctx, d, history.Op{Verb: history.Get, Key: key}).Outcome == history.Done {
			kept = append(kept, key)
		}
	}
	if refused.Code < 500 || !strings.Contains(refused.Message, "space") {
		t.Errorf("a write that finds no room is told %d %s: %s", refused.Code, refused.Reason, refused.Message)
	}
	if len(kept) < 5 {
		t.Fatalf("only %v were taken", kept)
	}
	for _, door := range []door{d, rpcDoor(t, s)} {
		o := w.op(ctx, door, history.Op{Verb: history.Create, Key: "late", Value: "v0"})
		if o.Outcome == history.Done {
			t.Errorf("a write without room: %v", o)
		}
		if o := w.op(ctx, door, history.Op{Verb: history.List}); o.Outcome != history.Done || len(o.Items) != len(begin.Items)+len(kept) {
			t.Errorf("a list without room has %d objects, expected %d more than %d: %v", len(o.Items), len(kept), len(begin.Items), o.Outcome)
		}
		if o := w.op(ctx, door, history.Op{Verb: history.Get, Key: kept[0]}); o.Outcome != history.Done {
			t.Errorf("a read without room: %v", o)
		}
	}
	for _, key := range kept {
		if o := w.op(ctx, d, history.Op{Verb: history.Delete, Key: key}); o.Outcome != history.Done {
			t.Errorf("what would make room is not deleted: %v", o)
		}
	}
	e.compact(t)
	var alarms struct {
		Alarms []struct {
			MemberID string
			Alarm    string
		}
	}
	if err := e.call(ctx, "maintenance/alarm", map[string]any{"action": "GET"}, &alarms); err != nil || len(alarms.Alarms) != 1 || alarms.Alarms[0].Alarm != "NOSPACE" {
		t.Fatalf("etcd's alarms: %+v, %v", alarms, err)
	}
	eventually(t, 30*time.Second, "room is given back", func() bool { return e.call(ctx, "maintenance/defragment", map[string]any{}, nil) == nil })
	off := map[string]any{"action": "DEACTIVATE", "memberID": alarms.Alarms[0].MemberID, "alarm": "NOSPACE"}
	eventually(t, 30*time.Second, "the alarm is off", func() bool { return e.call(ctx, "maintenance/alarm", off, nil) == nil })
	took := eventually(t, 20*time.Second, "a write when there is room", func() bool { return write(ctx, t, d, "after", "v1") == nil })
	t.Logf("%d objects of %d KiB fitted; a write after %v", len(kept), len(big)>>10, took)
	finish(t, rec, d)
	<-done // at the last object
	seen := map[string]int{}
	for _, segment := range f.segments {
		for _, ev := range segment.Events {
			seen[ev.Key]++
		}
	}
	for _, key := range kept {
		if seen[key] != 2 {
			t.Errorf("the watch saw %d events of %s, which was made and deleted", seen[key], key)
		}
	}
}

// write creates an object, and gives the refusal.
func write(ctx context.Context, t *testing.T, d *rest, key, value string) *metav1.Status {
	t.Helper()
	body, err := json.Marshal(configMap(key, value, 0))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := d.request(ctx, http.MethodPost, "", body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusCreated {
		return nil
	}
	status := &metav1.Status{}
	if err := json.Unmarshal(text, status); err != nil {
		t.Fatalf("%s: %s", resp.Status, text)
	}
	return status
}
