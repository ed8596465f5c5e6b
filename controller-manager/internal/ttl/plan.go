// Package ttl tells kubelets, by an annotation of their nodes, how long they
// may go on with what they know of a secret: the larger the cluster the longer.
package ttl

const annotation = "node.alpha.kubernetes.io/ttl"

// steps overlap, so that a cluster at a border does not go to and fro.
var steps = []struct{ least, most, seconds int }{
	{0, 100, 0}, {90, 500, 15}, {450, 1000, 30}, {900, 2000, 60}, {1800, 1 << 31, 300},
}

// plan moves from a step to the one that fits a number of nodes.
func plan(step, nodes int) int {
	for step+1 < len(steps) && nodes > steps[step].most {
		step++
	}
	for step > 0 && nodes < steps[step].least {
		step--
	}
	return step
}
