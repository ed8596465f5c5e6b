package pki

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Maker writes what is missing of a certificates directory.
type Maker struct {
	Dir       string
	Algorithm string
	Life      time.Duration
	CALife    time.Duration
	Now       time.Time
	// Say is told each thing done.
	Say func(format string, args ...any)
}

// Ensure makes the certificates that are not there and checks those that are.
func (m *Maker) Ensure(specs []Spec) error {
	cas := map[string]*Pair{}
	for _, s := range specs {
		if s.CA != "" && cas[s.CA] == nil {
			ca, err := Read(m.Dir, s.CA)
			if err != nil {
				return fmt.Errorf("certificate %s needs its authority: %w", s.Name, err)
			}
			cas[s.CA] = ca
		}
		p, err := Read(m.Dir, s.Name)
		switch {
		case errors.Is(err, os.ErrNotExist):
			if p, err = m.issue(s, cas); err != nil {
				return err
			}
			m.Say("generating %q certificate and key", s.Name)
		case err != nil:
			return err
		default:
			if err := m.check(s, p, cas[s.CA]); err != nil {
				return err
			}
			m.Say("using the existing %q certificate", s.Name)
		}
		if s.CA == "" {
			cas[s.Name] = p
		}
	}
	return nil
}

func (m *Maker) issue(s Spec, cas map[string]*Pair) (*Pair, error) {
	ca, life := cas[s.CA], m.CALife
	if s.CA != "" {
		life = m.Life
		if ca == nil || ca.Key == nil {
			return nil, fmt.Errorf("certificate %s is missing and the key of its authority, %s, is not in %s: put either there", s.Name, s.CA, m.Dir)
		}
	}
	p, err := Issue(s, ca, m.Algorithm, m.Now, life)
	if err != nil {
		return nil, err
	}
	return p, p.Write(m.Dir, s.Name)
}

// check refuses a certificate that would not work.
func (m *Maker) check(s Spec, p, ca *Pair) error {
	file := filepath.Join(m.Dir, s.Name+".crt")
	if m.Now.After(p.Cert.NotAfter) {
		return fmt.Errorf("certificate %s has expired on %s: remove it, or renew it with certs renew", file, p.Cert.NotAfter.Format(time.RFC3339))
	}
	if s.CA == "" {
		if !p.Cert.IsCA {
			return fmt.Errorf("certificate %s is no authority", file)
		}
		return nil
	}
	if err := p.Cert.CheckSignatureFrom(ca.Cert); err != nil {
		return fmt.Errorf("certificate %s is not signed by %s: %w", file, s.CA, err)
	}
	if p.Key == nil {
		return fmt.Errorf("certificate %s has no key beside it", file)
	}
	for _, d := range s.DNS {
		if p.Cert.VerifyHostname(d) != nil {
			return fmt.Errorf("certificate %s does not name %s: remove it to have it made anew", file, d)
		}
	}
	for _, ip := range s.IPs {
		if p.Cert.VerifyHostname(ip.String()) != nil {
			return fmt.Errorf("certificate %s does not name %s: remove it to have it made anew", file, ip)
		}
	}
	return nil
}

// EnsureServiceAccountKeys makes sa.key and sa.pub.
func (m *Maker) EnsureServiceAccountKeys() error {
	file := filepath.Join(m.Dir, "sa.key")
	raw, err := os.ReadFile(file)
	if err == nil {
		key, err := ParseKey(raw)
		if err != nil {
			return fmt.Errorf("service account key %s: %w", file, err)
		}
		m.Say("using the existing %q key", "sa")
		return m.writePublic(key.Public())
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	key, err := NewKey(m.Algorithm)
	if err != nil {
		return err
	}
	out, err := keyPEM(key)
	if err != nil {
		return err
	}
	if err := WriteFile(file, out, 0o600); err != nil {
		return err
	}
	m.Say("generating %q key and public key", "sa")
	return m.writePublic(key.Public())
}

func (m *Maker) writePublic(pub any) error {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return err
	}
	return WriteFile(filepath.Join(m.Dir, "sa.pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600)
}

// Renewed is the same certificate again, for a new key, from now on.
func Renewed(old *x509.Certificate, ca *Pair, algorithm string, now time.Time, life time.Duration) (*Pair, error) {
	if ca == nil || ca.Key == nil {
		return nil, errors.New("the key of its authority is not here: it is renewed where that key is")
	}
	return Issue(Spec{Name: old.Subject.CommonName, CA: "ca", CN: old.Subject.CommonName, Org: old.Subject.Organization,
		DNS: old.DNSNames, IPs: old.IPAddresses, Uses: old.ExtKeyUsage}, ca, algorithm, now, life)
}
