// Package setup makes the authenticators that kube-apiserver's flags describe.
package setup

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
)

// Options are the flags.
type Options struct {
	Anonymous    bool
	anonymousSet func() bool
	APIAudiences []string
	ClientCAFile string
	ConfigFile   string
	TokenFile    string
	Bootstrap    bool

	FrontProxy     FrontProxy
	ServiceAccount ServiceAccount
	OIDC           OIDC
	Webhook        Webhook
}

// FrontProxy says which proxies are believed.
type FrontProxy struct {
	ClientCAFile  string
	AllowedNames  []string
	Username, UID []string
	Group         []string
	ExtraPrefixes []string
}

// ServiceAccount says how tokens of service accounts are made and checked.
type ServiceAccount struct {
	// Issuers accept tokens; the first one makes them.
	Issuers        []string
	KeyFiles       []string
	SigningKeyFile string
	// Endpoint is the socket of a signer that has the keys instead.
	Endpoint      string
	KeysURI       string
	Lookup        bool
	MaxExpiration time.Duration
	Extend        bool
}

// OIDC is one OpenID Connect issuer, configured by flags.
type OIDC struct {
	IssuerURL, ClientID, CAFile   string
	UsernameClaim, UsernamePrefix string
	GroupsClaim, GroupsPrefix     string
	SigningAlgs                   []string
	RequiredClaims                map[string]string
}

// Webhook asks an outside service about tokens.
type Webhook struct {
	ConfigFile string
	Version    string
	TTL        time.Duration
}

// Flags registers the flags onto o's fields, with their defaults.
func (o *Options) Flags(f *pflag.FlagSet) {
	f.BoolVar(&o.Anonymous, "anonymous-auth", true, "Let requests without credentials in as the user system:anonymous of the group system:unauthenticated.")
	o.anonymousSet = func() bool { return f.Changed("anonymous-auth") }
	f.StringSliceVar(&o.APIAudiences, "api-audiences", nil, "Identifiers of this API: a service account token must be meant for one of them. Default: the service account issuers.")
	f.StringVar(&o.ClientCAFile, "client-ca-file", "", "Certificate authorities of client certificates; the common name is the user. It is read again when it changes.")
	f.StringVar(&o.ConfigFile, "authentication-config", "", "File with an AuthenticationConfiguration: JWT authenticators and anonymous access. It is read again when it changes.")
	f.StringVar(&o.TokenFile, "token-auth-file", "", `File with fixed tokens, lines of: token,user,uid,"group1,group2".`)
	f.BoolVar(&o.Bootstrap, "enable-bootstrap-token-auth", false, "Accept bootstrap tokens, Secrets of the type bootstrap.kubernetes.io/token in kube-system.")
	o.frontProxyFlags(f)
	o.serviceAccountFlags(f)
	o.oidcFlags(f)
	f.StringVar(&o.Webhook.ConfigFile, "authentication-token-webhook-config-file", "", "Kubeconfig of the service that is asked about bearer tokens.")
	f.StringVar(&o.Webhook.Version, "authentication-token-webhook-version", "v1beta1", "Version of the TokenReviews sent to the webhook: v1 or v1beta1.")
	f.DurationVar(&o.Webhook.TTL, "authentication-token-webhook-cache-ttl", 2*time.Minute, "How long to remember the webhook's answers.")
}

func (o *Options) frontProxyFlags(f *pflag.FlagSet) {
	p := &o.FrontProxy
	f.StringVar(&p.ClientCAFile, "requestheader-client-ca-file", "", "Certificate authorities of the proxies whose headers are believed. It is read again when it changes.")
	f.StringSliceVar(&p.AllowedNames, "requestheader-allowed-names", nil, "Common names that a proxy's certificate may have; any when empty.")
	f.StringSliceVar(&p.Username, "requestheader-username-headers", nil, "Headers with the user's name. X-Remote-User is usual.")
	f.StringSliceVar(&p.UID, "requestheader-uid-headers", nil, "Headers with the user's UID. X-Remote-Uid is suggested.")
	f.StringSliceVar(&p.Group, "requestheader-group-headers", nil, "Headers with the user's groups. X-Remote-Group is suggested.")
	f.StringSliceVar(&p.ExtraPrefixes, "requestheader-extra-headers-prefix", nil, "Prefixes of headers with more about the user. X-Remote-Extra- is suggested.")
}

func (o *Options) serviceAccountFlags(f *pflag.FlagSet) {
	s := &o.ServiceAccount
	f.StringArrayVar(&s.Issuers, "service-account-issuer", nil, "Issuer of service account tokens, a URL. When given more than once, the first makes tokens and all are accepted.")
	f.StringArrayVar(&s.KeyFiles, "service-account-key-file", nil, "File with keys or certificates, RSA or ECDSA in PEM, that verify service account tokens; may be given more than once. Default: the signing key.")
	f.StringVar(&s.SigningKeyFile, "service-account-signing-key-file", "", "File with the private key that signs service account tokens.")
	f.StringVar(&s.Endpoint, "service-account-signing-endpoint", "", "Path of the socket, or @NAME in the abstract namespace, of a service that signs service account tokens and has the keys; not together with the key files.")
	f.StringVar(&s.KeysURI, "service-account-jwks-uri", "", "URL of the keys in the discovery document, when it is not this server's own.")
	f.BoolVar(&s.Lookup, "service-account-lookup", true, "Check that the service account of a token still exists.")
	f.DurationVar(&s.MaxExpiration, "service-account-max-token-expiration", 0, "Longest life of a token that may be asked for; longer is shortened.")
	f.BoolVar(&s.Extend, "service-account-extend-token-expiration", true, "Let tokens of pods live for a year, with a warning, for clients that never read them again.")
}

func (o *Options) oidcFlags(f *pflag.FlagSet) {
	c := &o.OIDC
	f.StringVar(&c.IssuerURL, "oidc-issuer-url", "", "URL of the OpenID Connect issuer, https only.")
	f.StringVar(&c.ClientID, "oidc-client-id", "", "Client id that ID tokens must be issued for.")
	f.StringVar(&c.CAFile, "oidc-ca-file", "", "Certificate authorities of the issuer; the host's when not given.")
	f.StringVar(&c.UsernameClaim, "oidc-username-claim", "sub", "Claim with the user's name.")
	f.StringVar(&c.UsernamePrefix, "oidc-username-prefix", "", "Prefix of user names. Default: the issuer and '#', unless the claim is email; '-' means none.")
	f.StringVar(&c.GroupsClaim, "oidc-groups-claim", "", "Claim with the user's groups, a string or a list.")
	f.StringVar(&c.GroupsPrefix, "oidc-groups-prefix", "", "Prefix of groups.")
	f.StringSliceVar(&c.SigningAlgs, "oidc-signing-algs", []string{"RS256"}, "JOSE algorithms that tokens may be signed with.")
	f.StringToStringVar(&c.RequiredClaims, "oidc-required-claim", nil, "Pairs key=value that the token must hold; may be given more than once.")
}

// Validate finds options that do not go together.
func (o *Options) Validate() error {
	var errs []error
	if (o.OIDC.IssuerURL == "") != (o.OIDC.ClientID == "") {
		errs = append(errs, errors.New("oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set"))
	}
	if o.ConfigFile != "" && o.OIDC.IssuerURL != "" {
		errs = append(errs, errors.New("authentication-config file and oidc-* flags are mutually exclusive"))
	}
	if s := &o.ServiceAccount; s.MaxExpiration != 0 && (s.MaxExpiration < time.Hour || s.MaxExpiration > time.Duration(1<<32)*time.Second) {
		errs = append(errs, errors.New("the service-account-max-token-expiration must be between 1 hour and 2^32 seconds"))
	}
	if s := &o.ServiceAccount; s.Endpoint != "" && (s.SigningKeyFile != "" || len(s.KeyFiles) > 0) {
		errs = append(errs, errors.New("can't set `--service-account-signing-key-file` and/or `--service-account-key-file` and `--service-account-signing-endpoint` at the same time (They are mutually exclusive)"))
	}
	if v := o.Webhook.Version; v != "v1" && v != "v1beta1" {
		errs = append(errs, fmt.Errorf("--authentication-token-webhook-version %q is not v1 or v1beta1", v))
	}
	errs = append(errs, o.validateFrontProxy())
	return errors.Join(errs...)
}

func (o *Options) validateFrontProxy() error {
	p := &o.FrontProxy
	for flag, values := range map[string][]string{
		"requestheader-username-headers": p.Username, "requestheader-uid-headers": p.UID,
		"requestheader-group-headers": p.Group, "requestheader-extra-headers-prefix": p.ExtraPrefixes,
	} {
		for _, v := range values {
			if v == "" {
				return fmt.Errorf("empty value in %q", flag)
			}
		}
	}
	if p.ClientCAFile == "" {
		return nil
	}
	if len(p.AllowedNames) == 0 && o.ClientCAFile != "" {
		same, err := sameContent(p.ClientCAFile, o.ClientCAFile)
		if err != nil {
			return err
		}
		if same {
			// Every client would be a proxy, and could be anybody.
			return errors.New("--requestheader-client-ca-file is the same as --client-ca-file: give --requestheader-allowed-names")
		}
	}
	return nil
}
