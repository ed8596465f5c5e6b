package decode

import (
	"fmt"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// MaxBody is the greatest length of a request body.
const MaxBody = 3 << 20

// Read reads a body of at most limit bytes. Longer ones are a 413; sizeHint is
// the Content-Length, or less than 0.
func Read(r io.Reader, sizeHint, limit int64) ([]byte, error) {
	if r == nil {
		return nil, nil
	}
	if sizeHint > limit {
		return nil, tooLarge(limit)
	}
	buf := make([]byte, 0, max(sizeHint+1, 512))
	lr := io.LimitedReader{R: r, N: limit + 1}
	for {
		n, err := lr.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return nil, tooLarge(limit)
		}
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return nil, err
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
	}
}

func tooLarge(limit int64) error {
	return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", limit))
}
