package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/compile"
)

// Clients with affinity are remembered by the kernel, by numbers of pools and
// endpoints that are of one table. When all is written anew, who had which
// endpoint is read and told to the new table.

// remembered is a client of a frontend, which one of several may stand for.
type remembered struct {
	pool     uint32
	client   string // address
	endpoint netip.AddrPort
	left     uint64 // milliseconds
}

// memory is what a table knows of clients.
type memory struct {
	clients   []remembered
	frontends map[uint32][]frontendOf // by pool
}

type frontendOf struct {
	set setID // of pools
	key string
}

// manyClients are told to the new table; more come to an endpoint anew.
const manyClients = 1 << 16

// memory reads what the kernel's table knows. There may be none, or that of
// another layout, whose clients are forgotten.
func (s *socket) memory(f *family) (*memory, error) {
	m := &memory{frontends: map[uint32][]frontendOf{}}
	type raw struct {
		client remembered
		number string
	}
	var all []raw
	client := 4 + int(f.words)*4
	err := s.dump(f.number, setAffinity, func(key, data string, left uint64) {
		if len(key) == client && len(data) == 4 && left > 0 && len(all) < manyClients {
			all = append(all, raw{remembered{pool: binary.NativeEndian.Uint32([]byte(key)), client: key[4:], left: left}, data})
		}
	})
	if err != nil || len(all) == 0 {
		return m, err
	}
	endpoints := map[string]netip.AddrPort{}
	err = s.dump(f.number, setStayEndpoints, func(key, data string, _ uint64) {
		if len(data) < int(f.words)*4+2 {
			return
		}
		a, _ := netip.AddrFromSlice([]byte(data[:f.words*4])) // four or sixteen bytes
		endpoints[key] = netip.AddrPortFrom(a, binary.BigEndian.Uint16([]byte(data[f.words*4:])))
	})
	pools := map[uint32]bool{}
	for _, r := range all {
		if e, there := endpoints[r.number]; there {
			r.client.endpoint = e
			m.clients = append(m.clients, r.client)
			pools[r.client.pool] = true
		}
	}
	for at := inside; at <= nodeOutside && err == nil; at++ {
		err = s.dump(f.number, at.pools(), func(key, data string, _ uint64) {
			if len(data) != 4 {
				return
			}
			if pool := binary.NativeEndian.Uint32([]byte(data)); pools[pool] {
				m.frontends[pool] = append(m.frontends[pool], frontendOf{at.pools(), key})
			}
		})
	}
	return m, err
}

// dump visits the elements of a set; one that is not there has none.
func (s *socket) dump(family uint8, set setID, f func(key, data string, left uint64)) error {
	s.seq += 1 << 20
	b := &batch{family: family, seq: s.seq}
	m := b.message(unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP)
	b.text(unix.NFTA_SET_ELEM_LIST_TABLE, tableName)
	b.text(unix.NFTA_SET_ELEM_LIST_SET, setNames[set])
	b.close(m)
	if err := unix.Sendto(s.fd, b.b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("ask nftables for the set %s: %w", setNames[set], err)
	}
	var refused error
	err := s.read(func(typ uint16, seq uint32, body []byte) {
		switch {
		case seq != b.seq || len(body) < genmsgSize:
		case typ == unix.NLMSG_ERROR:
			if errno := unix.Errno(-int32(binary.NativeEndian.Uint32(body))); errno != 0 && errno != unix.ENOENT {
				refused = fmt.Errorf("ask nftables for the set %s: %w", setNames[set], errno)
			}
		case typ == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWSETELEM:
			attributes(attribute(body[genmsgSize:], unix.NFTA_SET_ELEM_LIST_ELEMENTS), func(_ uint16, e []byte) {
				key := attribute(attribute(e, unix.NFTA_SET_ELEM_KEY), unix.NFTA_DATA_VALUE)
				data := attribute(attribute(e, unix.NFTA_SET_ELEM_DATA), unix.NFTA_DATA_VALUE)
				left := uint64(0)
				if t := attribute(e, unix.NFTA_SET_ELEM_EXPIRATION); len(t) == 8 {
					left = binary.BigEndian.Uint64(t)
				}
				f(string(key), string(data), left)
			})
		}
	}, everything)
	return errors.Join(err, refused)
}

// remember tells the table's affinity what another one knew, as far as the
// frontends and endpoints are there still.
func (t *table) remember(m *memory, b *batch) {
	if len(m.clients) == 0 {
		return
	}
	now := map[frontendOf]*pool{}
	for _, r := range t.services {
		for i := range r.items {
			for _, p := range r.pools {
				if p.stay && r.items[i].pool == p.id {
					now[frontendOf{r.items[i].set, r.items[i].key}] = p
				}
			}
		}
	}
	var add elements
	done := map[string]bool{}
	for i := range m.clients {
		c := &m.clients[i]
		for _, at := range m.frontends[c.pool] {
			p := now[at]
			if p == nil {
				continue
			}
			id, there := p.ids[compile.EndpointOf(c.endpoint)]
			if key := number(p.id) + c.client; there && !done[key] {
				done[key] = true
				add.add(element{key: key, data: number(id), timeout: c.left})
			}
		}
	}
	b.elements(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, setNames[setAffinity], &add)
}

// attributes visits those of a message.
func attributes(b []byte, f func(typ uint16, v []byte)) {
	for len(b) >= attrSize {
		n := int(binary.NativeEndian.Uint16(b))
		if n < attrSize || n > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&^unix.NLA_F_NESTED, b[attrSize:n])
		b = b[min((n+3)&^3, len(b)):]
	}
}

// attribute is the last one of a type, nil for none.
func attribute(b []byte, wanted uint16) (out []byte) {
	attributes(b, func(typ uint16, v []byte) {
		if typ == wanted {
			out = v
		}
	})
	return out
}
