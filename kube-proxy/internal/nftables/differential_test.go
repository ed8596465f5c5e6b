package nftables

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/compile"
)

// kernelMaps are the maps as the kernel would have them: it carries out the
// messages of batches and refuses what the kernel refuses.
type kernelMaps struct {
	elements map[string]map[string]string // set → key → data
	chains   map[string]bool
}

func (k *kernelMaps) commit(b *batch) error {
	for _, piece := range b.finish() {
		for len(piece) >= headerSize {
			n := int(binary.NativeEndian.Uint32(piece))
			typ := binary.NativeEndian.Uint16(piece[4:])
			if err := k.message(typ&0xff, piece[headerSize+genmsgSize:n]); err != nil && typ>>8 == unix.NFNL_SUBSYS_NFTABLES {
				return err
			}
			piece = piece[n:]
		}
	}
	return nil
}

func text(b []byte) string { return strings.TrimRight(string(b), "\x00") }

func (k *kernelMaps) message(typ uint16, body []byte) error {
	switch typ {
	case unix.NFT_MSG_DELTABLE:
		k.elements, k.chains = map[string]map[string]string{}, map[string]bool{}
	case unix.NFT_MSG_NEWSET:
		k.elements[text(attribute(body, unix.NFTA_SET_NAME))] = map[string]string{}
	case unix.NFT_MSG_NEWCHAIN:
		k.chains[text(attribute(body, unix.NFTA_CHAIN_NAME))] = true
	case unix.NFT_MSG_DELCHAIN:
		return k.dropChain(text(attribute(body, unix.NFTA_CHAIN_NAME)))
	case unix.NFT_MSG_NEWSETELEM, unix.NFT_MSG_DELSETELEM:
		set := text(attribute(body, unix.NFTA_SET_ELEM_LIST_SET))
		var err error
		attributes(attribute(body, unix.NFTA_SET_ELEM_LIST_ELEMENTS), func(_ uint16, e []byte) {
			if failed := k.element(typ, set, e); failed != nil && err == nil {
				err = failed
			}
		})
		return err
	}
	return nil
}

func (k *kernelMaps) dropChain(name string) error {
	for set, all := range k.elements {
		for _, data := range all {
			if data == "goto "+name {
				return fmt.Errorf("chain %s is in use by %s", name, set)
			}
		}
	}
	delete(k.chains, name)
	return nil
}

func (k *kernelMaps) element(typ uint16, set string, e []byte) error {
	key := string(attribute(attribute(e, unix.NFTA_SET_ELEM_KEY), unix.NFTA_DATA_VALUE))
	if end := attribute(e, attrKeyEnd); end != nil {
		key += "-" + string(attribute(end, unix.NFTA_DATA_VALUE))
	}
	_, there := k.elements[set][key]
	if typ == unix.NFT_MSG_DELSETELEM {
		if !there {
			return fmt.Errorf("%s has no element %x to delete", set, key)
		}
		delete(k.elements[set], key)
		return nil
	}
	if there {
		return fmt.Errorf("%s has an element %x already", set, key)
	}
	data := attribute(e, unix.NFTA_SET_ELEM_DATA)
	value := string(attribute(data, unix.NFTA_DATA_VALUE))
	if v := attribute(data, unix.NFTA_DATA_VERDICT); v != nil {
		switch int32(binary.BigEndian.Uint32(attribute(v, unix.NFTA_VERDICT_CODE))) {
		case unix.NFT_GOTO:
			chain := text(attribute(v, unix.NFTA_VERDICT_CHAIN))
			if !k.chains[chain] {
				return fmt.Errorf("%s goes to the chain %s that is not there", set, chain)
			}
			value = "goto " + chain
		case netfilterDrop:
			value = "drop"
		default:
			value = "accept"
		}
	}
	k.elements[set][key] = value
	return nil
}

// where says what becomes of a packet: in the words of Frontend's pools.
func (k *kernelMaps) where(f *family, s side, key string) string {
	for at := s; ; at = s - 1 {
		if v, ok := k.elements[setNames[at.none()]][key]; ok && v != "accept" {
			return strings.Replace(v, "goto "+chainReject, "reject", 1)
		}
		if sort, ok := k.elements[setNames[at.services()]][key]; ok {
			to := k.elements["routes"][sort]
			return strings.TrimSuffix(to, [...]string{"", "-outside", "-node", "-node-outside"}[at]) + " " + k.endpoints(f, to, k.elements[setNames[at.pools()]][key])
		}
		if at%2 == 0 {
			return "nothing"
		}
	}
}

// endpoints of a pool, by every index that the chain may choose.
func (k *kernelMaps) endpoints(f *family, chain, pool string) string {
	var count int
	if _, err := fmt.Sscanf(chain, "goto to-%d", &count); err != nil {
		return err.Error()
	}
	var out []string
	for i := range count {
		key := pool + number(uint32(i))
		e, ok := k.elements["endpoints"][key]
		if strings.Contains(chain, "-stay-") {
			e, ok = k.elements["affinity-endpoints"][k.elements["affinity-slots"][key]], true
		}
		if !ok || len(e) != int(f.words*4+4) {
			return fmt.Sprintf("no endpoint %d of %d", i, count)
		}
		a, _ := netip.AddrFromSlice([]byte(e[:f.words*4]))
		out = append(out, netip.AddrPortFrom(a, binary.BigEndian.Uint16([]byte(e[f.words*4:]))).String())
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// expect is what where should say of a pool.
func expect(p *compile.Pool, affinity time.Duration) string {
	if len(p.Backends) == 0 {
		return [...]string{"reject", "drop"}[p.Missing]
	}
	var all []string
	for _, b := range p.Backends {
		all = append(all, b.String())
	}
	slices.Sort(all)
	return "goto " + route{count: len(all), masquerade: p.Masquerade, affinity: affinity}.name() + " " + strings.Join(all, " ")
}

// randomService has frontends of its own, by its number.
func randomService(r *rand.Rand, n int) *compile.Service {
	if r.IntN(5) == 0 {
		return nil
	}
	s := &compile.Service{Name: fmt.Sprint("x/", n)}
	randomPool := func(v4 bool) compile.Pool {
		p := compile.Pool{Masquerade: compile.Masquerade(r.IntN(3)), Missing: compile.Missing(r.IntN(2))}
		for i := range 7 {
			a := netip.MustParseAddr(fmt.Sprintf("10.244.0.%d", i))
			if !v4 {
				a = netip.MustParseAddr(fmt.Sprintf("fd44::%d", i))
			}
			if r.IntN(2) == 0 {
				p.Backends = append(p.Backends, compile.Backend{Endpoint: compile.EndpointOf(netip.AddrPortFrom(a, 80)), Local: i%2 == 0})
			}
		}
		if r.IntN(6) == 0 {
			p.Backends = nil
		}
		return p
	}
	affinity := []time.Duration{0, 0, time.Hour, time.Minute}[r.IntN(4)]
	for _, v4 := range []bool{true, false} {
		shared := randomPool(v4)
		for kind := range 3 {
			if r.IntN(3) == 0 {
				continue
			}
			f := compile.Frontend{Kind: compile.Kind(kind), Addr: netip.AddrFrom4([4]byte{10, 96, byte(kind), byte(n)}), Protocol: unix.IPPROTO_TCP, Port: uint16(1000 + n), V4: v4, Affinity: affinity, Pool: shared}
			if !v4 {
				f.Addr = netip.AddrFrom16([16]byte{0: 0xfd, 14: byte(kind), 15: byte(n)})
			}
			if f.Kind == compile.NodePort {
				f.Addr = netip.Addr{}
			}
			if f.Kind != compile.ClusterIP && r.IntN(2) == 0 {
				p := randomPool(v4)
				f.Outside = &p
			}
			if f.Kind == compile.External && v4 && r.IntN(2) == 0 {
				f.Sources = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(r.IntN(3))}), 8), netip.MustParsePrefix("0.0.0.0/5")}
			}
			s.Frontends = append(s.Frontends, f)
		}
	}
	return s
}

// shape is the kernel's state without the numbers that are chosen freely.
func (k *kernelMaps) shape() string {
	var out []string
	for set, all := range k.elements {
		switch set {
		case "routes": // chains that nobody goes to any more may be kept
			continue
		case "endpoints", "affinity-slots", "affinity-endpoints", "affinity":
			out = append(out, fmt.Sprint(set, len(all)))
			continue
		}
		for key, data := range all {
			switch {
			case strings.Contains(set, "pools"):
				data = ""
			case strings.HasPrefix(set, "services") || strings.HasPrefix(set, "nodeports"):
				data = k.elements["routes"][data]
			}
			out = append(out, fmt.Sprintf("%s %x %s", set, key, data))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// TestDifferential: after any changes the kernel sends every packet where its
// frontend says, and has what writing everything anew would give.
func TestDifferential(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 2))
		for _, f := range []*family{ipv4, ipv6} {
			o := &Options{}
			k := &kernelMaps{}
			tab := newTable(f, o)
			services := map[string]*compile.Service{}
			run := func(tab *table, k *kernelMaps, u *compile.Update) {
				t.Helper()
				b := newBatch(f.number, 1)
				if err := tab.sync(u, b); err != nil {
					t.Fatal(err)
				}
				if err := k.commit(b); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
			run(tab, k, full())
			for range 30 {
				u := full()
				u.Full = false
				for _, n := range r.Perm(12)[:1+r.IntN(4)] {
					name := fmt.Sprint("x/", n)
					now := randomService(r, n)
					u.Changes = append(u.Changes, compile.Change{Name: name, Old: services[name], New: now})
					services[name] = now
				}
				run(tab, k, u)
				var all []*compile.Service
				for _, s := range services {
					if s != nil {
						all = append(all, s)
						probe(t, k, f, s)
					}
				}
				fresh := &kernelMaps{}
				run(newTable(f, o), fresh, full(all...))
				if got, want := k.shape(), fresh.shape(); got != want {
					t.Fatalf("seed %d: by changes\n%s\nat once\n%s", seed, got, want)
				}
			}
		}
	}
}

func probe(t *testing.T, k *kernelMaps, f *family, s *compile.Service) {
	t.Helper()
	for i := range s.Frontends {
		x := &s.Frontends[i]
		if x.V4 != f.v4 {
			continue
		}
		at, key := inside, frontendKey(x.Addr, x.Protocol, x.Port)
		if x.Kind == compile.NodePort {
			at, key = nodeInside, nodePortKey(x.Protocol, x.Port)
		}
		if got, want := k.where(f, at, key), expect(&x.Pool, x.Affinity); got != want {
			t.Fatalf("%s frontend %d from inside goes to %q, want %q", s.Name, i, got, want)
		}
		want := expect(&x.Pool, x.Affinity)
		if x.Outside != nil {
			want = expect(x.Outside, x.Affinity)
		}
		if got := k.where(f, at.outer(), key); got != want {
			t.Fatalf("%s frontend %d from outside goes to %q, want %q", s.Name, i, got, want)
		}
	}
}

// TestSmallChange: an endpoint that goes changes six elements at most,
// whatever the number of endpoints.
func TestSmallChange(t *testing.T) {
	tab := newTable(ipv4, &Options{})
	of := func(n int) *compile.Service {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("10.1.%d.%d:80", i/200, i%200))
		}
		return service("x/web", frontend(compile.ClusterIP, "10.96.0.1:80", poolOf(compile.OffCluster, all...)))
	}
	if err := tab.apply(full(of(1000)).Changes, newBatch(ipv4.number, 1)); err != nil {
		t.Fatal(err)
	}
	old, now := of(1000), of(1000)
	p := &now.Frontends[0].Pool
	p.Backends = slices.Delete(p.Backends, 3, 4)
	b := newBatch(ipv4.number, 1)
	if err := tab.apply(change(old, now).Changes, b); err != nil {
		t.Fatal(err)
	}
	elements := 0
	for _, piece := range b.finish() {
		for len(piece) >= headerSize {
			n := int(binary.NativeEndian.Uint32(piece))
			if typ := binary.NativeEndian.Uint16(piece[4:]); typ == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWSETELEM || typ == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELSETELEM {
				attributes(attribute(piece[headerSize+genmsgSize:n], unix.NFTA_SET_ELEM_LIST_ELEMENTS), func(uint16, []byte) { elements++ })
			}
			piece = piece[n:]
		}
	}
	if elements > 6 {
		t.Errorf("%d elements", elements)
	}
}
