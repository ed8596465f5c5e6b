// Package version makes served versions whose Go type differs from the storage
// type only in name: their protobuf encodings are the same bytes.
package version

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

type object[T any] interface {
	*T
	scheme.Object
}

type list[T any] interface {
	*T
	runtime.Object
}

// WireEqual is a version with the type V and list type L of a resource stored
// as S, converted by way of the protobuf encoding, which they share.
func WireEqual[V, L, S any, PV object[V], PL list[L], PS object[S]](group, name string) scheme.Version {
	return Reshaped[V, L, S, PV, PL, PS](group, name,
		func(in *V, out *S) error { return Recode(PV(in), PS(out)) },
		func(in *S, out *V) error { return Recode(PS(in), PV(out)) })
}

// Reshaped is a version converted by functions, which fill an empty object and
// leave their argument as it is.
func Reshaped[V, L, S any, PV object[V], PL list[L], PS object[S]](group, name string, decode func(in *V, out *S) error, encode func(in *S, out *V) error) scheme.Version {
	return scheme.Version{
		Group: group, Version: name, Deprecated: deprecation(PV(new(V)), group, name),
		New:     func() runtime.Object { return PV(new(V)) },
		NewList: func() runtime.Object { return PL(new(L)) },
		Decode: func(in runtime.Object) (scheme.Object, error) {
			v, ok := in.(PV)
			if !ok {
				return nil, fmt.Errorf("convert %T: not a %s/%s object", in, group, name)
			}
			out := new(S)
			return PS(out), decode(v, out)
		},
		Encode: func(in scheme.Object) (runtime.Object, error) {
			s, ok := in.(PS)
			if !ok {
				return nil, fmt.Errorf("convert %T: not what %s/%s is stored as", in, group, name)
			}
			out := new(V)
			return PV(out), encode(s, out)
		},
	}
}

// Own is the storage version of a resource among those it is served at.
func Own(group, name string, example runtime.Object) scheme.Version {
	return scheme.Version{Group: group, Version: name, Deprecated: deprecation(example, group, name)}
}

// Off makes a version one that is served only on request (--runtime-config).
func Off(v scheme.Version) scheme.Version {
	v.OffByDefault = true
	return v
}

// Message is what can be recoded.
type Message = scheme.Message

// Recode fills a message from another with the same encoding.
func Recode(from, to Message) error {
	b, err := from.Marshal()
	if err != nil {
		return err
	}
	return to.Unmarshal(b)
}
