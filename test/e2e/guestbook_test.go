package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// guestbookPart is a Deployment of so many and the Service before it.
func guestbookPart(name string, replicas int, args ...string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %[1]s, labels: {app: guestbook}}
spec: {selector: {app: guestbook, part: %[1]s}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, labels: {app: guestbook}}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: guestbook, part: %[1]s}}
  template:
    metadata: {labels: {app: guestbook, part: %[1]s}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: guestbook
        image: %[3]s
        args: [guestbook, %[4]s]
        ports: [{containerPort: 8080}]
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
        resources: {requests: {cpu: 10m, memory: 10Mi}}
---`, name, replicas, agent, strings.Join(args, ", "))
}

// TestGuestbook: an application of three Deployments and Services is made by one
// command, answers, grows, and goes by one command.
func TestGuestbook(t *testing.T) {
	t.Parallel()
	t.Run("CL-ee17 a guestbook", func(t *testing.T) {
		u := newUser(t, "guestbook")
		manifest := guestbookPart("leader", 1, "leader") + guestbookPart("follower", 2, "follower", "leader") + guestbookPart("frontend", 3, "frontend", "leader", "follower")
		u.in(manifest).run("create", "-f", "-")
		for _, d := range []string{"leader", "follower", "frontend"} {
			u.rolledOut("deployment/" + d)
		}
		u.client("guest")
		fetch := func(want, url string) {
			t.Helper()
			u.says(want, "guest", "timeout", "5", "wget", "-qO-", url)
		}
		fetch("written", "http://frontend/write?entry=TestEntry")
		fetch("TestEntry", "http://frontend/read")
		// What comes later knows what was written before.
		u.run("scale", "deployment/follower", "deployment/frontend", "--replicas=4")
		u.rolledOut("deployment/follower")
		u.rolledOut("deployment/frontend")
		ips := strings.Fields(u.get("pods -l part=follower", "{.items[*].status.podIP}"))
		if len(ips) != 4 {
			t.Errorf("followers are at %q", ips)
		}
		for _, ip := range ips {
			fetch("TestEntry", "http://"+ip+":8080/entries")
		}
		for _, ip := range strings.Fields(u.get("pods -l part=frontend", "{.items[*].status.podIP}")) {
			fetch("written", "http://"+ip+":8080/write?entry=from-"+ip)
			fetch("from-"+ip, "http://"+ip+":8080/read")
		}
		u.in(manifest).run("delete", "-f", "-")
		u.until("all of it is gone", func() error {
			out, err := u.output("get", "services,deployments,replicasets,pods", "-l", "app=guestbook", "-o", "name")
			if err == nil && out != "" {
				err = fmt.Errorf("there are %q", out)
			}
			return err
		})
	})
}
