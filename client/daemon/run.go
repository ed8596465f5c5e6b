package daemon

import (
	"context"
	"errors"
	"sync"
)

// Run runs functions side by side. The first to return stops the others; Run
// waits for all and gives the first one's error, nil when it was asked to
// stop.
func Run(ctx context.Context, funcs ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var first error
	var once sync.Once
	var running sync.WaitGroup
	for _, f := range funcs {
		running.Go(func() {
			err := f(ctx)
			once.Do(func() {
				if !(ctx.Err() != nil && errors.Is(err, context.Canceled)) {
					first = err
				}
				cancel()
			})
		})
	}
	running.Wait()
	return first
}
