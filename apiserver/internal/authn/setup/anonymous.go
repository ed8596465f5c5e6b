package setup

import (
	"context"

	"xebec.dev/apiserver/internal/authn"
)

// anonymous is nil when everybody must always show a credential.
func (b *builder) anonymous() func(context.Context) bool {
	on := b.o.Anonymous
	if b.AlwaysAllow && !b.o.anonymousGiven() {
		on = false
	}
	byFlag := func(context.Context) bool { return on }
	if b.config == nil {
		if !on {
			return nil
		}
		return byFlag
	}
	return func(ctx context.Context) bool {
		a := b.config.Get().anonymous
		if a == nil {
			return byFlag(ctx)
		}
		if !a.Enabled {
			return false
		}
		paths := make([]string, len(a.Conditions))
		for i, c := range a.Conditions {
			paths[i] = c.Path
		}
		return authn.AnonymousAt(paths)(ctx)
	}
}

func (o *Options) anonymousGiven() bool { return o.anonymousSet != nil && o.anonymousSet() }
