package nftables

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/compile"
)

// table is our table of one family: what the kernel has, in memory. It is
// never read back.
type table struct {
	f        *family
	o        *Options
	services map[string]*rendered
	// chains of endpoints that exist, with the number of elements that lead
	// to them.
	chains   map[route]*chain
	lastSort uint32
	unused   int
	counted  [sets]map[string]int // elements that several services want
	lastPool uint32
	lastID   uint32 // of an endpoint with affinity
	networks []netip.Prefix
	ipvs     Beside // nil for a table that does all itself
	scratch  edit   // of the last change: its memory is used again
}

func newTable(f *family, o *Options) *table {
	return &table{
		f: f, o: o, services: map[string]*rendered{}, chains: map[route]*chain{},
		counted: [sets]map[string]int{setClusterIPs: {}, setHairpin: {}, setGuarded: {}},
	}
}

// chain of endpoints, by the number that frontends name it by.
type chain struct {
	sort  uint32
	users int
}

// rendered is what a service has in the table.
type rendered struct {
	items []item // in order of set and key
	pools []*pool
	refs  []item // of counted sets
}

// item is an element of a set or map.
type item struct {
	set  setID
	key  string
	end  string
	pool uint32 // data of the maps of pools
	to   route  // data of the maps of services
	code verdictCode
	// chain to go to; empty for the one that rejects.
	chain string
}

func (i *item) element() element {
	e := element{key: i.key, end: i.end}
	switch {
	case i.code == goTo && i.chain != "":
		e.verdict = verdict{goTo, i.chain}
	case i.code == goTo:
		e.verdict = verdict{goTo, chainReject}
	case i.code != noVerdict:
		e.verdict = verdict{code: i.code}
	case i.pool != 0:
		e.data = number(i.pool)
	}
	return e
}

func compareItems(a, b item) int {
	return cmp.Or(cmp.Compare(a.set, b.set), strings.Compare(a.key, b.key), strings.Compare(a.end, b.end))
}

// pool is a list of endpoints. Its order is its own: an endpoint that goes
// is replaced by the last, so that two elements change however many there are.
type pool struct {
	id    uint32
	slots []compile.Endpoint
	// stay: clients stay with their endpoint, known by its number.
	stay bool
	ids  map[compile.Endpoint]uint32
}

// edit is a change of the table in the making.
type edit struct {
	dels, adds [sets]elements
	created    []route
	touched    [sets]map[string]int // counts before the change
}

// manyBytes of elements are not kept for the next change.
const manyBytes = 16 << 10

func (e *edit) reset() {
	for _, all := range []*[sets]elements{&e.dels, &e.adds} {
		for s := range all {
			all[s].reset()
		}
	}
	e.created = e.created[:0]
	for _, s := range []setID{setClusterIPs, setHairpin, setGuarded} {
		if e.touched[s] == nil || len(e.touched[s]) > 64 {
			e.touched[s] = map[string]int{}
		}
		clear(e.touched[s])
	}
}

// apply puts changes into a batch, and into memory: if the batch fails, all
// must be replaced.
func (t *table) apply(changes []compile.Change, b *batch) error {
	// Only chains that were not in use before: a packet may be between the
	// frontend and the chain.
	t.collect(b)
	e := &t.scratch
	e.reset()
	for _, c := range changes {
		old := t.services[c.Name]
		now := t.render(c.New, old, e)
		t.move(old, now, e)
		if now == nil {
			delete(t.services, c.Name)
		} else {
			t.services[c.Name] = now
		}
	}
	t.settle(e)
	w := &writer{b: b, f: t.f, o: t.o}
	for _, r := range e.created {
		w.route(r)
	}
	for s := range sets {
		b.elements(unix.NFT_MSG_DELSETELEM, 0, setNames[s], &e.dels[s])
	}
	for s := range sets {
		b.elements(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, setNames[s], &e.adds[s])
	}
	return w.err
}

// manyUnused chains are removed; fewer are kept for the next time.
const manyUnused = 64

func (t *table) collect(b *batch) {
	if t.unused <= manyUnused {
		return
	}
	for r, c := range t.chains {
		if c.users == 0 {
			var e elements
			e.add(element{key: number(c.sort)})
			b.elements(unix.NFT_MSG_DELSETELEM, 0, setNames[setRoutes], &e)
			b.dropChain(r.name())
			delete(t.chains, r)
		}
	}
	t.unused = 0
}

// settle adds and removes the counted elements that changed.
func (t *table) settle(e *edit) {
	for s := range sets {
		for key, before := range e.touched[s] {
			now := t.counted[s][key]
			x := element{key: key}
			if s == setGuarded {
				x.verdict = verdict{goTo, chainReject}
			}
			switch {
			case before == 0 && now > 0:
				e.adds[s].add(x)
			case before > 0 && now == 0:
				e.dels[s].add(element{key: key})
			}
			if now == 0 {
				delete(t.counted[s], key)
			}
		}
	}
}

func (t *table) count(i *item, n int, e *edit) {
	if _, ok := e.touched[i.set][i.key]; !ok {
		e.touched[i.set][i.key] = t.counted[i.set][i.key]
	}
	t.counted[i.set][i.key] += n
}

// move leads from one rendering to another; both may be nil.
func (t *table) move(old, now *rendered, e *edit) {
	if old == nil {
		old = &rendered{}
	}
	was, is := old.items, []item(nil)
	if now != nil {
		is = now.items
		for i := range now.refs {
			t.count(&now.refs[i], 1, e)
		}
	}
	for i := range old.refs {
		t.count(&old.refs[i], -1, e)
	}
	for len(was) > 0 || len(is) > 0 {
		order := 0
		switch {
		case len(was) == 0:
			order = 1
		case len(is) == 0:
			order = -1
		default:
			order = compareItems(was[0], is[0])
		}
		if order == 0 && was[0] == is[0] {
			was, is = was[1:], is[1:]
			continue
		}
		if order <= 0 {
			t.drop(&was[0], e)
			was = was[1:]
		}
		if order >= 0 {
			t.add(&is[0], e)
			is = is[1:]
		}
	}
}

func (t *table) drop(i *item, e *edit) {
	e.dels[i.set].add(element{key: i.key, end: i.end})
	if i.to.count > 0 {
		c := t.chains[i.to]
		c.users--
		if c.users == 0 {
			t.unused++
		}
	}
}

func (t *table) add(i *item, e *edit) {
	x := i.element()
	if i.to.count > 0 {
		x.data = number(t.use(i.to, e))
	}
	e.adds[i.set].add(x)
}

// use gives a chain one more user, and makes it if need be.
func (t *table) use(r route, e *edit) uint32 {
	c := t.chains[r]
	switch {
	case c == nil:
		t.lastSort++
		c = &chain{sort: t.lastSort}
		t.chains[r] = c
		e.created = append(e.created, r)
		e.adds[setRoutes].add(element{key: number(c.sort), verdict: verdict{goTo, r.name()}})
	case c.users == 0:
		t.unused--
	}
	c.users++
	return c.sort
}

// render says what a service has in the table; its pools go on from the old
// ones where they can.
func (t *table) render(s *compile.Service, old *rendered, e *edit) *rendered {
	r := &rendering{t: t, old: old, now: &rendered{}, e: e}
	if s != nil {
		for i := range s.Frontends {
			if s.Frontends[i].V4 == t.f.v4 {
				r.frontend(&s.Frontends[i])
			}
		}
	}
	r.finish()
	if len(r.now.items) == 0 && len(r.now.refs) == 0 {
		return nil
	}
	return r.now
}

type rendering struct {
	t        *table
	old, now *rendered
	e        *edit
	contents []content
}

// content is what is in a pool of now, at the same place.
type content struct {
	backends []compile.Backend
	reused   *pool // its old slots, nil for a new pool
}

func (r *rendering) frontend(f *compile.Frontend) {
	at, key := inside, ""
	if f.Kind == compile.NodePort {
		at, key = nodeInside, nodePortKey(f.Protocol, f.Port)
	} else {
		key = frontendKey(f.Addr, f.Protocol, f.Port)
	}
	if f.Kind == compile.ClusterIP || f.Kind == compile.External && r.t.ipvs != nil && r.t.ipvs.Bound(f.Addr) {
		key := string(f.Addr.AsSlice())
		r.now.refs = append(r.now.refs, item{set: setClusterIPs, key: key}, item{set: setGuarded, key: key})
	}
	r.side(at, key, f, &f.Pool)
	if r.t.ipvs != nil {
		r.beside(at, key, f)
	}
	if f.Outside != nil {
		r.side(at.outer(), key, f, f.Outside)
		if len(f.Outside.Backends) > 0 && len(f.Pool.Backends) == 0 {
			r.now.items = append(r.now.items, item{set: at.outer().none(), key: key, code: accept})
		}
	}
	if f.Sources != nil && f.Kind != compile.NodePort {
		r.sources(key, f)
	}
}

// sources of a frontend; its own address is one, for a node that has the load
// balancer's address calls itself from it.
func (r *rendering) sources(key string, f *compile.Frontend) {
	r.now.items = append(r.now.items, item{set: setRestricted, key: key})
	own := netip.PrefixFrom(f.Addr, f.Addr.BitLen())
	for _, p := range disjoint(append(slices.Clone(f.Sources), own)) {
		low, high := bounds(p)
		r.now.items = append(r.now.items, item{set: setSources, key: key + low, end: key + high})
	}
}

// disjoint leaves out networks that are within others.
func disjoint(all []netip.Prefix) (out []netip.Prefix) {
	for i, p := range all {
		within := slices.ContainsFunc(all, func(q netip.Prefix) bool { return q.Bits() < p.Bits() && q.Contains(p.Addr()) })
		if !within && !slices.Contains(all[:i], p) {
			out = append(out, p)
		}
	}
	return out
}

func bounds(p netip.Prefix) (low, high string) {
	a := p.Masked().Addr().AsSlice()
	low = string(a)
	for i := p.Bits(); i < len(a)*8; i++ {
		a[i/8] |= 0x80 >> (i % 8)
	}
	return low, string(a)
}

func (r *rendering) side(at side, key string, f *compile.Frontend, p *compile.Pool) {
	if len(p.Backends) == 0 {
		code := goTo // to the chain that rejects
		if p.Missing == compile.Drop {
			code = drop
		}
		r.now.items = append(r.now.items, item{set: at.none(), key: key, code: code})
		return
	}
	if r.t.ipvs != nil {
		r.hairpins(p.Backends)
		return
	}
	to := route{len(p.Backends), p.Masquerade, f.Affinity, at}
	r.now.items = append(r.now.items,
		item{set: at.services(), key: key, to: to},
		item{set: at.pools(), key: key, pool: r.pool(p.Backends, f.Affinity > 0, at.pools(), key)})
}

// pool finds or makes the pool of a frontend; frontends with the same
// endpoints share one.
func (r *rendering) pool(backends []compile.Backend, stay bool, set setID, key string) uint32 {
	same := func(a, b compile.Backend) bool { return a.Endpoint == b.Endpoint }
	for i, c := range r.contents {
		if r.now.pools[i].stay == stay && slices.EqualFunc(c.backends, backends, same) {
			return r.now.pools[i].id
		}
	}
	was := r.reuse(set, key, stay)
	now := &pool{stay: stay}
	if was != nil {
		now.id = was.id
	} else {
		r.t.lastPool++
		now.id = r.t.lastPool
	}
	r.contents = append(r.contents, content{backends, was})
	r.now.pools = append(r.now.pools, now)
	return now.id
}

// reuse finds the pool that a frontend had, if no other one has taken it.
func (r *rendering) reuse(set setID, key string, stay bool) *pool {
	if r.old == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(r.old.items, item{set: set, key: key}, compareItems)
	if !ok {
		return nil
	}
	id := r.old.items[i].pool
	if slices.ContainsFunc(r.now.pools, func(p *pool) bool { return p.id == id }) {
		return nil
	}
	for _, p := range r.old.pools {
		if p.id == id && p.stay == stay {
			return p
		}
	}
	return nil
}

// finish fills the pools and empties those that are gone.
func (r *rendering) finish() {
	slices.SortFunc(r.now.items, compareItems)
	for i, c := range r.contents {
		was := &pool{}
		if c.reused != nil {
			was = c.reused
		}
		p := r.now.pools[i]
		p.slots = arrange(was.slots, c.backends)
		if p.stay {
			r.number(p, was)
		}
		r.e.slots(was, p)
		r.hairpins(c.backends)
	}
	if r.old == nil {
		return
	}
	for _, p := range r.old.pools {
		if !slices.ContainsFunc(r.now.pools, func(q *pool) bool { return q.id == p.id }) {
			r.e.slots(p, &pool{id: p.id, stay: p.stay})
		}
	}
}

// number gives endpoints that are new to a pool their numbers.
func (r *rendering) number(p, was *pool) {
	p.ids = make(map[compile.Endpoint]uint32, len(p.slots))
	for _, a := range p.slots {
		id, ok := was.ids[a]
		if !ok {
			r.t.lastID++
			id = r.t.lastID
		}
		p.ids[a] = id
	}
}

func (r *rendering) hairpins(backends []compile.Backend) {
	for _, b := range backends {
		if b.Local {
			a := string(b.Addr().AsSlice())
			r.now.refs = append(r.now.refs, item{set: setHairpin, key: a + a})
		}
	}
}

// arrange keeps endpoints where they are; new ones and then the last fill the
// places of those that went.
func arrange(was []compile.Endpoint, backends []compile.Backend) []compile.Endpoint {
	out := make([]compile.Endpoint, 0, len(backends))
	if len(was) == 0 {
		for _, b := range backends {
			out = append(out, b.Endpoint)
		}
		return out
	}
	// Backends are in order: to search them makes no garbage.
	find := func(a compile.Endpoint) (int, bool) {
		return slices.BinarySearchFunc(backends, a, func(b compile.Backend, a compile.Endpoint) int { return b.Compare(a) })
	}
	kept := make([]bool, len(backends))
	var free []int
	for i, a := range was {
		out = append(out, a)
		if at, wanted := find(a); wanted && !kept[at] {
			kept[at] = true
		} else {
			free = append(free, i)
		}
	}
	for i, b := range backends {
		if kept[i] {
			continue
		}
		if len(free) > 0 {
			out[free[0]] = b.Endpoint
			free = free[1:]
		} else {
			out = append(out, b.Endpoint)
		}
	}
	for ; len(free) > 0; free = free[:len(free)-1] {
		last := len(out) - 1
		out[free[len(free)-1]] = out[last]
		out = out[:last]
	}
	return out
}

// slots leads from one state of a pool to another.
func (e *edit) slots(was, is *pool) {
	set, value := setEndpoints, func(p *pool, i int) string { return endpointData(p.slots[i]) }
	if is.stay {
		set, value = setStaySlots, func(p *pool, i int) string { return number(p.ids[p.slots[i]]) }
		e.numbers(was, is)
	}
	for i := range max(len(was.slots), len(is.slots)) {
		if i < len(was.slots) && i < len(is.slots) && was.slots[i] == is.slots[i] {
			continue
		}
		key := slotKey(is.id, uint32(i))
		if i < len(was.slots) {
			e.dels[set].add(element{key: key})
		}
		if i < len(is.slots) {
			e.adds[set].add(element{key: key, data: value(is, i)})
		}
	}
}

func (e *edit) numbers(was, is *pool) {
	for _, a := range was.slots {
		if _, ok := is.ids[a]; !ok {
			e.dels[setStayEndpoints].add(element{key: number(was.ids[a])})
		}
	}
	for _, a := range is.slots {
		if _, ok := was.ids[a]; !ok {
			e.adds[setStayEndpoints].add(element{key: number(is.ids[a]), data: endpointData(a)})
		}
	}
}
