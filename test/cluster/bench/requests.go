package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// requests are how many the API server has answered, by verb and resource.
func requests(ctx context.Context, client *http.Client) (map[string]float64, error) {
	text, err := fetch(ctx, client, addresses["kube-apiserver"]+"/metrics")
	if err != nil {
		return nil, err
	}
	label := regexp.MustCompile(`(verb|resource|subresource)="([^"]*)"`)
	counts := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "apiserver_request_total{") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		n, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		of := map[string]string{}
		for _, m := range label.FindAllStringSubmatch(line, -1) {
			of[m[1]] = m[2]
		}
		counts[strings.TrimRight(of["verb"]+" "+of["resource"]+"/"+of["subresource"], "/")] += n
	}
	return counts, nil
}

// tellRequests prints what was asked of the API server meanwhile.
func tellRequests(out io.Writer, before, after map[string]float64, took time.Duration) {
	type count struct {
		what string
		n    float64
	}
	var all []count
	var sum float64
	for what, n := range after {
		if n -= before[what]; n > 0 {
			all, sum = append(all, count{what, n}), sum+n
		}
	}
	slices.SortFunc(all, func(a, b count) int { return cmp.Or(cmp.Compare(b.n, a.n), strings.Compare(a.what, b.what)) })
	fmt.Fprintf(out, "requests a minute: %.0f\n", sum/took.Minutes())
	for _, c := range all {
		fmt.Fprintf(out, "  %8.1f  %s\n", c.n/took.Minutes(), c.what)
	}
}
