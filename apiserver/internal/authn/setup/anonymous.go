package setup

import (
	"context"

	"xebec.dev/apiserver/internal/authn"
)

// anonymous is nil when everybody must show a credential.
func (b *builder) anonymous() (func(context.Context) bool, error) {
	on := b.o.Anonymous
	if b.AlwaysAllow && !b.o.anonymousGiven() {
		on = false
	}
	if !on {
		return nil, nil
	}
	return authn.AnonymousAt(nil), nil
}

func (o *Options) anonymousGiven() bool { return o.anonymousSet != nil && o.anonymousSet() }
