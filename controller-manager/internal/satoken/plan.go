package satoken

import (
	"bytes"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// Plan is what to do about a secret; one of the fields at most is set.
type Plan struct {
	// Delete a secret whose account is gone.
	Delete bool
	// Fill in what is missing or wrong.
	Fill bool
}

func (p Plan) String() string {
	switch {
	case p.Delete:
		return "delete"
	case p.Fill:
		return "fill"
	}
	return ""
}

// plan compares a secret with its account; account is nil when there is none.
func plan(s *corev1.Secret, account *corev1.ServiceAccount, authority []byte) Plan {
	uid := s.Annotations[corev1.ServiceAccountUIDKey]
	if account == nil || uid != "" && uid != string(account.UID) {
		return Plan{Delete: true}
	}
	missing := len(s.Data[corev1.ServiceAccountTokenKey]) == 0 || string(s.Data[corev1.ServiceAccountNamespaceKey]) != s.Namespace ||
		uid == "" || len(authority) > 0 && !bytes.Equal(s.Data[corev1.ServiceAccountRootCAKey], authority)
	return Plan{Fill: missing}
}

// filled is the secret as it should be.
func filled(s *corev1.Secret, account *corev1.ServiceAccount, authority []byte, sign *signer) (*corev1.Secret, error) {
	s = s.DeepCopy()
	if s.Data == nil {
		s.Data = map[string][]byte{}
	}
	if len(authority) > 0 {
		s.Data[corev1.ServiceAccountRootCAKey] = authority
	}
	s.Data[corev1.ServiceAccountNamespaceKey] = []byte(s.Namespace)
	if len(s.Data[corev1.ServiceAccountTokenKey]) == 0 {
		token, err := sign.token(account, s.Name)
		if err != nil {
			return nil, fmt.Errorf("token of secret %s/%s: %w", s.Namespace, s.Name, err)
		}
		s.Data[corev1.ServiceAccountTokenKey] = []byte(token)
	}
	s.Annotations[corev1.ServiceAccountNameKey] = account.Name
	s.Annotations[corev1.ServiceAccountUIDKey] = string(account.UID)
	return s, nil
}
