package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// seen looks at requests as they leave: a token that was not sent before is
// told, and so is each that is refused.
type seen struct {
	http.RoundTripper
	last string
}

func (s *seen) RoundTrip(r *http.Request) (*http.Response, error) {
	if now := digest(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")); now != s.last {
		fmt.Println("sends token", now)
		s.last = now
	}
	resp, err := s.RoundTripper.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		fmt.Println("refused: 401")
	}
	return resp, err
}

func digest(token string) string {
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return hex.EncodeToString(sum[:6])
}

// token uses client-go as any operator in a pod does, but for the file that
// its token is in.
func token(ctx context.Context, file string) error {
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	config.BearerToken, config.BearerTokenFile = "", file
	// The last to be wrapped is the last before the wire.
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &seen{RoundTripper: next} })
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	namespace, err := os.ReadFile(filepath.Join(filepath.Dir(file), "namespace"))
	if err != nil {
		return err
	}
	held, begun, reads := "", time.Now(), 0
	for ctx.Err() == nil {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if now := digest(string(raw)); now != held {
			fmt.Printf("file has token %s after %s\n", now, time.Since(begun).Round(time.Second))
			held = now
		}
		pods, err := api.CoreV1().Pods(string(namespace)).List(ctx, metav1.ListOptions{})
		if err != nil {
			fmt.Println("error:", err)
		} else if reads++; reads%30 == 1 {
			fmt.Println("reads", reads, "pods", len(pods.Items))
		}
		time.Sleep(time.Second)
	}
	return nil
}
