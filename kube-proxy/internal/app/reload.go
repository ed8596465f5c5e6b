package app

import (
	"bytes"
	"context"
	"errors"
	"os"
	"time"

	"go.uber.org/zap"

	"xebec.dev/kube-proxy/internal/config"
)

// reloadEvery is how often the configuration's file is looked at; a ConfigMap
// takes longer to come to a node.
const reloadEvery = 10 * time.Second

// errUpdated ends the process, as Kubernetes' kube-proxy does: whoever started
// it starts it anew, and traffic goes on meanwhile.
var errUpdated = errors.New("content of the proxy server's configuration file was updated")

// whileUnchanged ends with an error once the file says something else that is
// valid; what is not is told, and what was read at the start holds on.
func whileUnchanged(path string, every time.Duration, log *zap.Logger) func(context.Context) error {
	known, _ := os.ReadFile(path) // it was read a moment ago
	return func(ctx context.Context) error {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
			now, err := os.ReadFile(path)
			if err != nil || bytes.Equal(now, known) {
				continue // it may be in the midst of being replaced
			}
			known = now
			if _, err := config.Decode(now); err != nil {
				log.Error("the configuration's file has changed to what can't be used; the earlier one holds", zap.String("file", path), zap.Error(err))
				continue
			}
			return errUpdated
		}
	}
}
