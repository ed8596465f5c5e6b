package server

import (
	"fmt"
	"os"

	"xebec.dev/apiserver/internal/egress"
)

// proxies reads --egress-selector-config-file, for all that connects.
func (s *Server) proxies() error {
	path := s.cfg.EgressConfig
	if path == "" {
		return nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--egress-selector-config-file: %w", err)
	}
	if s.egress, err = egress.Parse(content); err != nil {
		return fmt.Errorf("--egress-selector-config-file %s: %w", path, err)
	}
	s.cfg.Audit.Webhook.Dial = s.egress.To(egress.ControlPlane)
	return nil
}
