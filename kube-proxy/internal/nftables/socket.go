package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is a netlink socket. The kernel answers within the call that sends,
// so that nothing has to be waited for.
type socket struct {
	fd   int
	seq  uint32
	buf  []byte
	sent int // bytes that the buffer for sending holds
	// crowded is until when other programs may have large transactions.
	crowded time.Time
}

// Buffers of the socket in bytes. The first grows with what is sent.
const (
	minSend = 1 << 20
	receive = 4 << 20
)

func dial() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket to netfilter: %w", err)
	}
	s := &socket{fd: fd, buf: make([]byte, 64<<10)}
	err = errors.Join(unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}), s.room(unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, receive))
	if err != nil {
		_ = unix.Close(fd) // the error is the news
		return nil, fmt.Errorf("prepare a netlink socket to netfilter: %w", err)
	}
	return s, nil
}

func (s *socket) close() error { return unix.Close(s.fd) }

// room sets the size of a buffer, beyond the system's limit where we may.
func (s *socket) room(force, plain, size int) error {
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, force, size) == nil {
		return nil
	}
	return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, plain, size)
}

func (s *socket) commit(b *batch) error {
	pieces := b.finish()
	size := minSend
	for _, p := range pieces {
		size += len(p) + len(p)/8
	}
	if size > s.sent {
		if err := s.room(unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, size); err != nil {
			return err
		}
		s.sent = size
	}
	for {
		err := s.send(pieces)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("send a transaction of %d bytes to nftables: %w", size-minSend, err)
		}
		return s.answers(b)
	}
}

// brief is how many bytes the kernel has done in microseconds: the runtime
// need not be told of the call. To tell it wakes its monitor, which takes more
// processor time than a small transaction. But the kernel does one transaction
// at a time, and who waits for another program's holds up this whole one: after
// a call that took longer than patience the runtime is told for a while.
const (
	brief    = 16 << 10
	patience = 100 * time.Millisecond // a thread that has to wait for a processor is quicker
	crowded  = time.Minute
)

func (s *socket) send(pieces [][]byte) error {
	began := time.Now()
	if len(pieces) > 1 || len(pieces[0]) > brief || began.Before(s.crowded) {
		_, err := unix.SendmsgBuffers(s.fd, pieces, nil, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}, 0)
		return err
	}
	p := pieces[0]
	to := unix.RawSockaddrNetlink{Family: unix.AF_NETLINK}
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0,
		uintptr(unsafe.Pointer(&to)), unsafe.Sizeof(to))
	if now := time.Now(); now.Sub(began) > patience {
		s.crowded = now.Add(crowded)
	}
	if errno != 0 {
		return errno
	}
	return nil
}

var errNoAnswer = errors.New("nftables has not acknowledged a transaction")

// answers reads what the kernel said of a batch: it has said it all.
func (s *socket) answers(b *batch) error {
	var first error
	acknowledged := false
	err := s.read(func(typ uint16, seq uint32, body []byte) {
		if typ != unix.NLMSG_ERROR || len(body) < 4 || seq < b.first || seq > b.seq {
			return
		}
		if errno := unix.Errno(-int32(binary.NativeEndian.Uint32(body))); errno != 0 && first == nil {
			first = fmt.Errorf("nftables message %d of %d: %w", seq-b.first, b.seq-b.first, errno)
		}
		acknowledged = acknowledged || seq == b.seq
	}, func() bool { return acknowledged && first == nil })
	if err == nil {
		err = first
	}
	if err == nil && !acknowledged {
		err = errNoAnswer
	}
	return err
}

// read gives all messages that are there, or until enough: what is left then
// is read with the next ones.
func (s *socket) read(f func(typ uint16, seq uint32, body []byte), enough func() bool) error {
	for !enough() {
		n, err := s.receive()
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("read nftables' answers: %w", err)
		}
		for b := s.buf[:n]; len(b) >= headerSize; {
			size := int(binary.NativeEndian.Uint32(b))
			if size < headerSize || size > len(b) {
				break
			}
			f(binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint32(b[8:]), b[headerSize:size])
			b = b[min((size+3)&^3, len(b)):]
		}
	}
	return nil
}

// receive never waits: the runtime need not be told.
func (s *socket) receive() (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(s.buf))), uintptr(len(s.buf)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// everything that is there is read.
func everything() bool { return false }

// begin makes a batch whose sequence numbers are the socket's next.
func (s *socket) begin(family uint8) *batch {
	s.seq += 1 << 20
	return newBatch(family, s.seq)
}

func (s *socket) has(family uint8) (bool, error) {
	s.seq += 1 << 20
	b := &batch{family: family, seq: s.seq}
	m := b.message(unix.NFT_MSG_GETTABLE, 0)
	b.text(unix.NFTA_TABLE_NAME, tableName)
	b.close(m)
	if err := unix.Sendto(s.fd, b.b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return false, fmt.Errorf("ask nftables for the table: %w", err)
	}
	found := false
	var refused error
	err := s.read(func(typ uint16, seq uint32, body []byte) {
		if seq != b.seq {
			return
		}
		if typ == unix.NLMSG_ERROR && len(body) >= 4 {
			if errno := unix.Errno(-int32(binary.NativeEndian.Uint32(body))); errno != 0 && errno != unix.ENOENT {
				refused = fmt.Errorf("ask nftables for the table: %w", errno)
			}
			return
		}
		found = true
	}, everything)
	return found, errors.Join(err, refused)
}

func (s *socket) remove(f *family) error {
	b := s.begin(f.number)
	b.table(unix.NFT_MSG_DELTABLE, 0)
	return s.commit(b)
}
