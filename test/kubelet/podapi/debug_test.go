package podapi

import ("testing";"time")

func TestDebugKeep(t *testing.T) {
	create(t, "dbg", `containers: [{name: c, args: [wait]}]`)
	ready(t, "dbg")
	time.Sleep(40*time.Second)
}
