package server

import (
	"fmt"
	"os"
	"time"

	"xebec.dev/apiserver/internal/tracing"
)

// tracesTime is how long the collector may take for the last spans.
const tracesTime = 2 * time.Second

// tracer is --tracing-config-file's.
func (s *Server) tracer() (*tracing.Tracer, error) {
	path := s.cfg.TracingConfig
	if path == "" {
		return nil, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--tracing-config-file: %w", err)
	}
	t, err := tracing.New(content)
	if err != nil {
		return nil, fmt.Errorf("--tracing-config-file %s: %w", path, err)
	}
	return t, nil
}
