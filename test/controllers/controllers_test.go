package controllers

import "testing"

// TestControllers runs everything that needs a healthy cluster against one.
func TestControllers(t *testing.T) {
	c := newCluster(t)
	// Each controller has the rights of its own service account, no more.
	c.manage()
	c.drive(t, "n1", "n2", "n3")
	for _, x := range []struct {
		name string
		run  func(*testing.T, *cluster)
	}{
		{"deployment rolls, undoes and keeps history", rollout},
		{"deployment pauses", paused},
		{"deployment scales in proportion", proportional},
		{"deployment recreates", recreate},
		{"deployment misses its deadline", deadline},
		{"replica set adopts and releases", adoption},
		{"replica set recovers from a quota", quota},
		{"replication controller", replicationController},
		{"stateful set in order", statefulOrder},
		{"stateful set rolls by partition and back", statefulRoll},
		{"stateful set in parallel", statefulParallel},
		{"stateful set and its claims", statefulClaims},
		{"daemon set", daemons},
		{"daemon set surges", daemonSurge},
		{"job completes", jobCompletes},
		{"job fails", jobFails},
		{"job with indexes", jobIndexes},
		{"job suspends", jobSuspends},
		{"job with policies", jobPolicies},
		{"job is deleted", jobDeleted},
		{"cron jobs", cronJobs},
		{"cascade in the background", cascadeBackground},
		{"cascade in the foreground", cascadeForeground},
		{"cascade of orphans", cascadeOrphan},
		{"owners that are not there", absentOwners},
		{"two owners", twoOwners},
		{"a lease that was renewed since", renewedLease},
		{"namespace", namespaceEnds},
		{"service endpoints", endpoints},
		{"mirrored endpoints", mirrored},
		{"ephemeral volume", ephemeral},
		{"service account and authority", accounts},
		{"token secret", tokenSecret},
		{"aggregated role", aggregatedRole},
		{"node taints", nodeTaints},
		{"certificates", certificates},
		{"disruption budgets", budgets},
		{"disruption budgets and scales", budgetScales},
		{"volumes", volumes},
		{"volumes that wait", waitingVolumes},
		{"quota counts", quotaCounts},
		{"finished job", finishedJob},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			x.run(t, c)
		})
	}
}
