// Package token authenticates by bearer tokens: where a request carries them,
// the static file, bootstrap tokens, and a short memory of answers.
package token

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf8"

	"xebec.dev/apiserver/internal/authn"
	"xebec.dev/apiserver/internal/request"
)

// ErrInvalid is the answer to a token that nobody knows.
var ErrInvalid = errors.New("invalid bearer token")

// Bearer takes the token of a request to token authenticators.
type Bearer struct{ Tokens authn.TokenAuthenticator }

// Authenticate implements authn.Authenticator.
func (b Bearer) Authenticate(ctx context.Context, c *request.Credentials) (*authn.Identity, error) {
	token := FromAuthorization(c.Header("Authorization"))
	if token == "" && isWebSocket(c) {
		var err error
		if token, err = fromWebSocket(c.Header("Sec-Websocket-Protocol")); err != nil {
			return nil, err
		}
	}
	if token == "" {
		return nil, nil
	}
	id, err := b.Tokens.AuthenticateToken(ctx, token, nil)
	if err == nil && id == nil {
		err = ErrInvalid
	}
	if id != nil {
		for k, v := range id.Annotations {
			request.Annotate(ctx, k, v)
		}
		for _, w := range id.Warnings {
			request.Warn(ctx, w)
		}
	}
	return id, err
}

// FromAuthorization is the bearer token in an Authorization header, "" when
// there is none.
func FromAuthorization(values []string) string {
	if len(values) == 0 {
		return ""
	}
	parts := strings.SplitN(strings.TrimSpace(values[0]), " ", 3)
	if len(parts) < 2 || !strings.EqualFold(parts[0], "bearer") {
		return ""
	}
	return parts[1]
}

func isWebSocket(c *request.Credentials) bool {
	for _, v := range c.Header("Upgrade") {
		if strings.EqualFold(v, "websocket") {
			return true
		}
	}
	return false
}

// webSocketPrefix begins the WebSocket subprotocol by which browsers, which
// cannot set headers there, send a token.
const webSocketPrefix = "base64url.bearer.authorization.k8s.io."

func fromWebSocket(values []string) (string, error) {
	token, seen := "", false
	others := false
	for _, value := range values {
		for _, protocol := range strings.Split(value, ",") {
			encoded, ok := strings.CutPrefix(strings.TrimSpace(protocol), webSocketPrefix)
			if !ok {
				others = true
				continue
			}
			if seen {
				return "", errors.New("multiple base64.bearer.authorization tokens specified")
			}
			seen = true
			raw, err := base64.RawURLEncoding.DecodeString(encoded)
			if err != nil {
				return "", errors.New("invalid base64.bearer.authorization token encoding")
			}
			if !utf8.Valid(raw) {
				return "", errors.New("invalid base64.bearer.authorization token")
			}
			token = string(raw)
		}
	}
	if seen && !others {
		return "", errors.New("missing additional subprotocol")
	}
	return token, nil
}

// WithoutWebSocketToken removes the token from a Sec-WebSocket-Protocol value,
// which must not be sent on or echoed.
func WithoutWebSocketToken(value string) string {
	var rest []string
	for _, protocol := range strings.Split(value, ",") {
		if p := strings.TrimSpace(protocol); p != "" && !strings.HasPrefix(p, webSocketPrefix) {
			rest = append(rest, p)
		}
	}
	return strings.Join(rest, ",")
}
