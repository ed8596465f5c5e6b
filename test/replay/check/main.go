// Command check replays recorded conversations against a running server:
//
//	go run ./replay/check -data-dir DIR -url https://127.0.0.1:6443 [-run REGEXP] core-pod.jsonl …
//
// It prints what differs, and exits with 1 if anything does.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"xebec.dev/api/observedtest"
	"xebec.dev/test/apiservertest"
	"xebec.dev/test/replay"
)

func main() {
	url := flag.String("url", "https://127.0.0.1:6443", "the server")
	dir := flag.String("data-dir", "", "its --data-dir, for the administrator's certificate")
	token := flag.String("token", "", "a bearer token instead of the certificate")
	run := flag.String("run", "", "only cases whose id matches")
	most := flag.Int("most", 6, "differences to print of each case")
	parallel := flag.Int("parallel", 8, "cases at once")
	flag.Parse()
	pair, err := tls.LoadX509KeyPair(filepath.Join(*dir, "pki/admin.crt"), filepath.Join(*dir, "pki/admin.key"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true}, // loopback, for a person's look
		MaxIdleConnsPerHost: *parallel * 2,
	}}
	if *token != "" {
		transport := client.Transport.(*http.Transport)
		transport.TLSClientConfig.Certificates = nil
		client.Transport = apiservertest.WithToken(*token, transport)
	}
	if check(&replay.Runner{URL: *url, Client: client}, regexp.MustCompile(*run), *most, *parallel, flag.Args()) > 0 {
		os.Exit(1)
	}
}

func check(r *replay.Runner, match *regexp.Regexp, most, parallel int, files []string) (bad int) {
	var mu sync.Mutex
	total := 0
	for _, f := range files {
		cases, err := observedtest.Load(filepath.Base(f))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		places := make(chan struct{}, parallel)
		var wg sync.WaitGroup
		for i := range cases {
			c := &cases[i]
			if !match.MatchString(c.ID) {
				continue
			}
			total++
			one := func() {
				diff := r.Run(context.Background(), c)
				if len(diff) == 0 {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				bad++
				fmt.Println(c.ID)
				for _, d := range diff[:min(len(diff), most)] {
					fmt.Println("  " + d)
				}
			}
			if c.Namespace != nil && !*c.Namespace {
				wg.Wait() // cases with names of their own run alone
				one()
				continue
			}
			places <- struct{}{}
			wg.Go(func() { defer func() { <-places }(); one() })
		}
		wg.Wait()
	}
	fmt.Printf("%d passed, %d failed\n", total-bad, bad)
	return bad
}
