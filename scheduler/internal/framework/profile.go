package framework

// Profile is the plugins that schedule the pods of one schedulerName.
type Profile struct {
	Name string

	PreEnqueue []PreEnqueuer
	QueueSort  QueueSorter
	Signers    []Signer
	Filters    []PreFilterer
	PostFilter []PostFilterer
	Scores     []Weighted
	Reserve    []Reserver
	Permit     []Permitter
	PreBind    []PreBinder
	Bind       []Binder
	PostBind   []PostBinder
	Enqueue    []Enqueuer
	// Plugins that reject and are no Enqueuer: any event wakes their pods.
	Wildcard map[string]bool
}

// Weighted is a score with its weight.
type Weighted struct {
	PreScorer
	Weight int64
}
