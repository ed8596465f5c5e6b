package volume

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Tokens are replaced after four fifths of their life, or a day; one that
// can't be replaced is used to its end.
func TestTokensAreReplacedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issued, down := 0, false
		kept := newTokens(func(_ context.Context, k tokenKey) (string, time.Time, error) {
			if down {
				return "", time.Time{}, errors.New("connection refused")
			}
			issued++
			return fmt.Sprint(issued), time.Now().Add(time.Duration(k.seconds) * time.Second), nil
		})
		hour := tokenKey{pod: "u", seconds: 3600}
		get := func(k tokenKey, want string) {
			t.Helper()
			have, err := kept.get(t.Context(), k)
			if err != nil {
				have = err.Error()
			}
			if have != want {
				t.Errorf("have %s, want %s", have, want)
			}
		}
		get(hour, "1")
		time.Sleep(2880*time.Second - renewJitter - time.Second)
		get(hour, "1")
		time.Sleep(renewJitter + 2*time.Second)
		get(hour, "2")
		down = true
		time.Sleep(3590 * time.Second)
		get(hour, "2")
		if next := kept.next("u"); !next.After(time.Now()) {
			t.Errorf("the next try is due at once, and so for ever")
		}
		time.Sleep(renewPause + time.Second)
		get(hour, "connection refused")
		down = false
		get(hour, "3")
		week := tokenKey{pod: "u", audience: "vault", seconds: 7 * 24 * 3600}
		get(week, "4")
		time.Sleep(24*time.Hour - renewJitter - time.Second)
		get(week, "4")
		time.Sleep(renewJitter + 2*time.Second)
		get(week, "5")
		kept.forget("u")
		if !kept.next("u").IsZero() {
			t.Error("a forgotten pod's token is due")
		}
	})
}

func TestTokenOwner(t *testing.T) {
	id := func(n int64) *int64 { return &n }
	one := func(pod *int64, containers ...*int64) *corev1.Pod {
		p := &corev1.Pod{}
		if pod != nil {
			p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: pod}
		}
		for _, c := range containers {
			k := corev1.Container{}
			if c != nil {
				k.SecurityContext = &corev1.SecurityContext{RunAsUser: c}
			}
			p.Spec.Containers = append(p.Spec.Containers, k)
		}
		return p
	}
	for i, c := range []struct {
		pod  *corev1.Pod
		want int64 // -1 is root's
	}{
		{one(nil, nil), -1},
		{one(id(5), nil, nil), 5},
		{one(nil, id(7), id(7)), 7},
		{one(nil, id(7), nil), -1},
		{one(id(5), id(7), nil), -1},
		{one(id(7), id(7), nil), 7},
	} {
		have := int64(-1)
		if u := fsUser(c.pod); u != nil {
			have = *u
		}
		if have != c.want {
			t.Errorf("case %d: have %d, want %d", i, have, c.want)
		}
	}
}
