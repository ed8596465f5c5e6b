package cache

import (
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/client/stream"
	pb "xebec.dev/proto/gen/control/v1"
)

// Item is what a replica can hold: objects, or what Reduce makes of them. An
// item whose uid and resource version are those of another is the same.
type Item interface {
	GetNamespace() string
	GetName() string
	GetUID() types.UID
	GetResourceVersion() string
}

// Reduce makes a replica of items: of each object only what reduce keeps of
// it stays in memory. Decoded objects take ten times the room of their bytes.
func Reduce[O scheme.Object, T Item](c *client.Client, s *stream.Stream, reduce func(obj O) T, o Options[T]) (*Replica[T], error) {
	r, err := client.ResourceOf[O](c)
	if err != nil {
		return nil, err
	}
	projected := o.projected()
	return newReplica(r, s, func(raw *pb.Object) (item T, err error) {
		obj, err := client.Decode[O](r, raw, projected)
		if err != nil {
			return item, err
		}
		return reduce(obj), nil
	}, o), nil
}
