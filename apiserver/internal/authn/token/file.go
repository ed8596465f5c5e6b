package token

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"

	"xebec.dev/apiserver/internal/authn"
	"xebec.dev/apiserver/internal/request"
)

// File is a fixed set of tokens. They are kept as hashes, so that looking one
// up takes no time that tells how much of it was right.
type File struct {
	users map[[sha256.Size]byte]request.User
}

// ParseFile reads lines of token,user,uid,"group1,group2"; name is for
// errors.
func ParseFile(name string, content []byte) (*File, error) {
	f := &File{users: map[[sha256.Size]byte]request.User{}}
	r := csv.NewReader(bytes.NewReader(content))
	r.FieldsPerRecord = -1
	for line := 1; ; line++ {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return f, nil
		}
		if err != nil {
			return nil, err
		}
		if len(record) < 3 {
			return nil, fmt.Errorf("token file '%s' must have at least 3 columns (token, user name, user uid), found %d", name, len(record))
		}
		if record[0] == "" {
			return nil, fmt.Errorf("token file '%s' has an empty token in record %d", name, line)
		}
		u := request.User{Name: record[1], UID: record[2]}
		if len(record) >= 4 && record[3] != "" {
			u.Groups = strings.Split(record[3], ",")
		}
		f.users[sha256.Sum256([]byte(record[0]))] = u
	}
}

// Fixed is a File of one token, for a component's own use.
func Fixed(token string, u request.User) *File {
	return &File{users: map[[sha256.Size]byte]request.User{sha256.Sum256([]byte(token)): u}}
}

// AuthenticateToken implements authn.TokenAuthenticator.
func (f *File) AuthenticateToken(_ context.Context, token string, _ []string) (*authn.Identity, error) {
	u, ok := f.users[sha256.Sum256([]byte(token))]
	if !ok {
		return nil, nil
	}
	return &authn.Identity{User: u, Method: "tokenfile"}, nil
}

// Agnostic makes an authenticator that knows of no audiences vouch for the API
// server's own only.
type Agnostic struct {
	Own    []string
	Tokens authn.TokenAuthenticator
}

// AuthenticateToken implements authn.TokenAuthenticator.
func (a Agnostic) AuthenticateToken(ctx context.Context, token string, audiences []string) (*authn.Identity, error) {
	match := a.Own
	if len(audiences) > 0 {
		if match = Intersect(a.Own, audiences); len(match) == 0 {
			return nil, nil
		}
	}
	id, err := a.Tokens.AuthenticateToken(ctx, token, audiences)
	if err != nil || id == nil {
		return nil, err
	}
	if len(id.Audiences) > 0 {
		return id, nil
	}
	c := *id
	c.Audiences = match
	return &c, nil
}

// Intersect is those of a that are in b.
func Intersect(a, b []string) []string {
	var out []string
	for _, x := range a {
		for _, y := range b {
			if x == y {
				out = append(out, x)
				break
			}
		}
	}
	return out
}
