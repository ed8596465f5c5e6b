package shutdown

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// bus is a connection to D-Bus, as much of it as logind needs.
type bus struct {
	conn *net.UnixConn
	// signals are those that were asked for, in order; closed when the
	// connection ends.
	signals chan *message

	mu     sync.Mutex
	serial uint32                   // guarded by mu
	calls  map[uint32]chan *message // guarded by mu: who waits, by serial; nil once it ended
	failed error                    // guarded by mu
}

// Bounds of a connection.
const (
	maxMessage  = 1 << 20 // bytes
	maxFiles    = 16      // of one message
	handshake   = 5 * time.Second
	signalsKept = 64
)

// systemBus is where the system's bus listens.
func systemBus() string {
	if a := os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"); a != "" {
		return a
	}
	return "unix:path=/run/dbus/system_bus_socket"
}

// socket is the path of an address like unix:path=PATH,guid=GUID.
func socket(address string) (string, error) {
	for _, one := range strings.Split(address, ";") {
		options, ok := strings.CutPrefix(one, "unix:")
		if !ok {
			continue
		}
		for _, o := range strings.Split(options, ",") {
			switch k, v, _ := strings.Cut(o, "="); k {
			case "path":
				return v, nil
			case "abstract":
				return "@" + v, nil
			}
		}
	}
	return "", fmt.Errorf("D-Bus address %q has no unix:path=", address)
}

// dial connects and says hello.
func dial(ctx context.Context, address string) (*bus, error) {
	path, err := socket(address)
	if err != nil {
		return nil, err
	}
	c, err := (&net.Dialer{Timeout: handshake}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("D-Bus: %w", err)
	}
	b := &bus{conn: c.(*net.UnixConn), signals: make(chan *message, signalsKept), calls: map[uint32]chan *message{}}
	if err := b.authenticate(); err != nil {
		return nil, errors.Join(fmt.Errorf("D-Bus at %s: %w", path, err), c.Close())
	}
	go b.read()
	if _, err := b.call(ctx, &message{path: "/org/freedesktop/DBus", destination: "org.freedesktop.DBus", iface: "org.freedesktop.DBus", member: "Hello"}); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// authenticate says who this is, and that it takes files.
func (b *bus) authenticate() error {
	if err := b.conn.SetDeadline(time.Now().Add(handshake)); err != nil {
		return err
	}
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Geteuid())))
	for _, step := range []struct{ say, expect string }{{"\x00AUTH EXTERNAL " + uid + "\r\n", "OK "}, {"NEGOTIATE_UNIX_FD\r\n", "AGREE_UNIX_FD"}} {
		if _, err := b.conn.Write([]byte(step.say)); err != nil {
			return err
		}
		line, err := b.line()
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, step.expect) {
			return fmt.Errorf("it refuses: %q", line)
		}
	}
	if _, err := b.conn.Write([]byte("BEGIN\r\n")); err != nil {
		return err
	}
	return b.conn.SetDeadline(time.Time{})
}

// line reads one, byte by byte: what follows is not text.
func (b *bus) line() (string, error) {
	const longest = 1 << 10
	var out []byte
	var one [1]byte
	for len(out) < longest {
		if _, err := b.conn.Read(one[:]); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			return strings.TrimSuffix(string(out), "\r"), nil
		}
		out = append(out, one[0])
	}
	return "", fmt.Errorf("it says more than a line")
}

func (b *bus) close() error { return b.conn.Close() }

// call sends a method call and waits for its answer.
func (b *bus) call(ctx context.Context, m *message) (*message, error) {
	answer := make(chan *message, 1)
	b.mu.Lock()
	if b.failed != nil {
		defer b.mu.Unlock()
		return nil, b.failed
	}
	b.serial++
	serial := b.serial
	b.calls[serial] = answer
	m.kind, m.serial = methodCall, serial
	_, err := b.conn.Write(m.encode())
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.calls, serial)
		b.mu.Unlock()
	}()
	if err != nil {
		return nil, fmt.Errorf("D-Bus: %w", err)
	}
	select {
	case r, ok := <-answer:
		switch {
		case !ok:
			b.mu.Lock()
			defer b.mu.Unlock()
			return nil, b.failed
		case r.kind == failure:
			r.close()
			return nil, fmt.Errorf("%s.%s: %s: %v", m.iface, m.member, r.errorName, r.body)
		}
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// read passes on what comes until the connection ends.
func (b *bus) read() {
	err := b.messages(func(m *message) {
		switch m.kind {
		case methodReturn, failure:
			b.mu.Lock()
			to := b.calls[m.replyTo]
			delete(b.calls, m.replyTo)
			b.mu.Unlock()
			if to == nil {
				m.close() // nobody waits any more
				return
			}
			to <- m
		case signal:
			m.close()
			select {
			case b.signals <- m:
			default: // whoever asked for them is busy: it looks at the newest state afterwards
			}
		default:
			m.close()
		}
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = fmt.Errorf("D-Bus: the connection ended: %w", err)
	for _, to := range b.calls {
		close(to)
	}
	b.calls = nil
	close(b.signals)
}

// messages reads messages and the files that come with them.
func (b *bus) messages(f func(*message)) error {
	var data []byte
	var files []int
	defer func() { closeAll(files) }()
	buffer, oob := make([]byte, 4<<10), make([]byte, syscall.CmsgSpace(4*maxFiles))
	for {
		for {
			size, ok, err := messageSize(data)
			if err != nil {
				return err
			}
			if !ok || len(data) < size {
				break
			}
			m, err := decode(data[:size])
			if err != nil {
				return err
			}
			if m.fileCount > len(files) {
				return fmt.Errorf("a message has %d files, %d came", m.fileCount, len(files))
			}
			m.files, files = files[:m.fileCount:m.fileCount], files[m.fileCount:]
			data = append([]byte(nil), data[size:]...)
			f(m)
		}
		n, oobn, _, _, err := b.conn.ReadMsgUnix(buffer, oob)
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.New("it was closed")
		}
		data = append(data, buffer[:n]...)
		if oobn == 0 {
			continue
		}
		control, err := syscall.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			return err
		}
		for i := range control {
			more, err := syscall.ParseUnixRights(&control[i])
			if err != nil {
				return err
			}
			files = append(files, more...)
		}
		for _, fd := range files {
			syscall.CloseOnExec(fd)
		}
	}
}

func closeAll(files []int) {
	for _, fd := range files {
		_ = syscall.Close(fd) // it is this process' own
	}
}
