package serviceip

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
)

// Ranges is where Kubernetes keeps port bitmaps; it is not served.
var Ranges = &scheme.Resource{
	Version: "v1", Kind: "RangeAllocation", Plural: "rangeallocations", Singular: "rangeallocation",
	New:           func() runtime.Object { return new(corev1.RangeAllocation) },
	StoragePrefix: "ranges",
}

const portsName = "servicenodeports"

// Ports allocates node ports from First to Last.
type Ports struct {
	Store       storage.Store
	First, Last int32
	Log         *zap.Logger
}

// Take takes a chosen port.
func (p *Ports) Take(ctx context.Context, port int32, dryRun bool) error {
	if port < p.First || port > p.Last {
		return fmt.Errorf("provided port is not in the valid range. The range of valid ports is %d-%d", p.First, p.Last)
	}
	return p.change(ctx, dryRun, func(used *big.Int) error {
		if used.Bit(p.bit(port)) == 1 {
			return errPortTaken
		}
		used.SetBit(used, p.bit(port), 1)
		return nil
	})
}

func (p *Ports) bit(port int32) int { return int(port - p.First) }

// Allocate takes any free port: not one of the lower band, which is left to
// people who choose, while there are others.
func (p *Ports) Allocate(ctx context.Context, dryRun bool) (int32, error) {
	var got int32
	err := p.change(ctx, dryRun, func(used *big.Int) error {
		size := int(p.Last-p.First) + 1
		band := int(staticPorts(size))
		start := rand.IntN(max(1, size-band))
		for i := range size {
			bit := band + (start+i)%(size-band)
			if i >= size-band {
				bit = i - (size - band)
			}
			if used.Bit(bit) == 0 {
				used.SetBit(used, bit, 1)
				got = p.First + int32(bit)
				return nil
			}
		}
		return errPortsFull
	})
	return got, err
}

// staticPorts is the size of the lower band: 16 to 128 ports, a 32nd.
func staticPorts(size int) int {
	band := max(16, min(128, size/32))
	if band >= size {
		return 0
	}
	return band
}

// Release gives ports back.
func (p *Ports) Release(ctx context.Context, ports []int32) {
	if len(ports) == 0 {
		return
	}
	err := p.change(ctx, false, func(used *big.Int) error {
		for _, port := range ports {
			if port >= p.First && port <= p.Last {
				used.SetBit(used, p.bit(port), 0)
			}
		}
		return nil
	})
	if err != nil {
		p.Log.Warn("node ports were not given back", zap.Int32s("ports", ports), zap.Error(err))
	}
}

// change swaps the bitmap, again while another server is faster.
func (p *Ports) change(ctx context.Context, dryRun bool, edit func(used *big.Int) error) error {
	c := p.Store.Collection(Ranges)
	current := c.Newest("", portsName)
	for {
		used := new(big.Int)
		if current != nil {
			var r corev1.RangeAllocation
			if err := r.Unmarshal(current.Raw); err != nil {
				return fmt.Errorf("the stored node port bitmap can't be read: %w", err)
			}
			if r.Range == p.text() {
				used.SetBytes(r.Data)
			}
		}
		if err := edit(used); err != nil {
			return err
		}
		if dryRun {
			return nil
		}
		r := corev1.RangeAllocation{Range: p.text(), Data: used.Bytes()}
		raw, err := r.Marshal()
		if err != nil {
			return err
		}
		if current == nil {
			_, err = c.Create(ctx, "", portsName, raw, 0)
		} else {
			_, err = c.Update(ctx, current, raw, 0)
		}
		if err == nil {
			return nil
		}
		var exists *storage.Exists
		var conflict *storage.Conflict
		switch {
		case errors.As(err, &exists):
			current = exists.Object
		case errors.As(err, &conflict):
			current = conflict.Current
		default:
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (p *Ports) text() string { return fmt.Sprintf("%d-%d", p.First, p.Last) }
