package ipvs

import "xebec.dev/kube-proxy/internal/compile"

// Marks of virtual servers have our tag in the upper byte and a number below
// it.
const (
	markTag  = 0x0b000000
	markMask = 0xff000000
	markLast = 1 << 20 // numbers; none is ever so large
)

// marks numbers the frontends that have endpoints of their own for clients
// inside the cluster.
type marks struct {
	// avoid is the bit that has a packet's source replaced.
	avoid  uint32
	by     map[Key]uint32
	unused []uint32
	last   uint32
}

func newMarks(avoid uint32) *marks { return &marks{avoid: avoid, by: map[Key]uint32{}} }

func place(f *compile.Frontend) Key {
	return Key{Addr: f.Addr, Port: f.Port, Protocol: f.Protocol, V4: f.V4}
}

// of a frontend: the same as long as it is there.
func (m *marks) of(f *compile.Frontend) uint32 {
	if f.Outside == nil {
		return 0
	}
	k := place(f)
	if have := m.by[k]; have != 0 {
		return have
	}
	if n := len(m.unused); n > 0 {
		m.by[k], m.unused = m.unused[n-1], m.unused[:n-1]
		return m.by[k]
	}
	m.last++
	for m.last&m.avoid != 0 {
		m.last++
	}
	m.by[k] = markTag&^m.avoid | m.last
	return m.by[k]
}

// ours tells whether a mark may be one of ours.
func (m *marks) ours(mark uint32) bool {
	return mark&markMask == markTag&^m.avoid&markMask && mark&^uint32(markMask) < markLast
}

// settle forgets the frontends of a service that it has no more.
func (m *marks) settle(old, now *compile.Service) {
	if old == nil {
		return
	}
	kept := map[Key]bool{}
	if now != nil {
		for i := range now.Frontends {
			if f := &now.Frontends[i]; f.Outside != nil {
				kept[place(f)] = true
			}
		}
	}
	for i := range old.Frontends {
		k := place(&old.Frontends[i])
		if mark := m.by[k]; mark != 0 && !kept[k] {
			delete(m.by, k)
			m.unused = append(m.unused, mark)
		}
	}
}
