package encode

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestResponse(t *testing.T) {
	small, large := bytes.Repeat([]byte("a"), CompressAbove), bytes.Repeat([]byte("b"), CompressAbove+1)
	for _, c := range []struct {
		accept string
		body   []byte
		zipped bool
	}{
		{"", large, false}, {"gzip", small, false}, {"gzip", large, true}, {"deflate, gzip", large, true}, {"br", large, false}, {"gzip;q=1", large, false}, {"gzip", nil, false},
	} {
		rec := httptest.NewRecorder()
		r := NewResponse(rec, c.accept, func() {
			rec.Header().Set("X", "y")
			rec.WriteHeader(http.StatusCreated)
		})
		for b := c.body; len(b) > 0; {
			n, err := r.Write(b[:min(len(b), 50<<10)])
			if err != nil {
				t.Fatal(err)
			}
			b = b[n:]
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		res := rec.Result()
		body := io.Reader(res.Body)
		if zipped := res.Header.Get("Content-Encoding") == "gzip"; zipped != c.zipped {
			t.Errorf("%q, %d bytes: compressed is %v", c.accept, len(c.body), zipped)
		} else if zipped {
			z, err := gzip.NewReader(body)
			if err != nil {
				t.Fatal(err)
			}
			body = z
		}
		got, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(got, c.body) {
			t.Errorf("%q: %v, %d bytes", c.accept, err, len(got))
		}
		if res.StatusCode != http.StatusCreated || res.Header.Get("X") != "y" {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
	}
}

func TestAbandonedResponse(t *testing.T) {
	rec := httptest.NewRecorder()
	r := NewResponse(rec, "gzip", func() { rec.WriteHeader(http.StatusOK) })
	if _, err := r.Write([]byte("x")); err != nil || r.Sent() {
		t.Error("a little is held back", err)
	}
	r.Abandon()
	http.Error(rec, "no", http.StatusInternalServerError)
	if rec.Code != http.StatusInternalServerError {
		t.Error(rec.Code)
	}
}
