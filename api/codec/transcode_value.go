package codec

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// number reads one number; bits are those of its wire form.
func number(k kind, b []byte) (bits uint64, rest []byte, ok bool) {
	switch k.wireType() {
	case wireFixed64:
		if len(b) < 8 {
			return 0, b, false
		}
		return binary.LittleEndian.Uint64(b), b[8:], true
	case wireFixed32:
		if len(b) < 4 {
			return 0, b, false
		}
		return uint64(binary.LittleEndian.Uint32(b)), b[4:], true
	}
	bits, n := uvarint(b)
	if n <= 0 {
		return 0, b, false
	}
	return bits, b[n:], true
}

func (k kind) isZero(bits uint64) bool {
	switch k {
	case kindInt32, kindUint32:
		return uint32(bits) == 0
	case kindFloat64:
		return math.Float64frombits(bits) == 0
	case kindFloat32:
		return math.Float32frombits(uint32(bits)) == 0
	}
	return bits == 0
}

func (k kind) appendNumber(dst []byte, bits uint64) ([]byte, bool) {
	switch k {
	case kindBool:
		return strconv.AppendBool(dst, bits != 0), true
	case kindInt32:
		return strconv.AppendInt(dst, int64(int32(bits)), 10), true
	case kindInt64:
		return strconv.AppendInt(dst, int64(bits), 10), true
	case kindUint32:
		return strconv.AppendUint(dst, uint64(uint32(bits)), 10), true
	case kindUint64:
		return strconv.AppendUint(dst, bits, 10), true
	}
	var v any = math.Float64frombits(bits)
	if k == kindFloat32 {
		v = math.Float32frombits(uint32(bits))
	}
	b, err := json.Marshal(v)
	return append(dst, b...), err == nil
}

// zeroTime is the Unix time of Go's zero Time.
const zeroTime = -62135596800

// timestamp reads a Timestamp message.
func timestamp(data []byte) (seconds int64, nanos int32, ok bool) {
	r := reader{data}
	for r.more() {
		num, wire, err := r.tag()
		if err != nil || wire != wireVarint || num > 2 {
			return 0, 0, false
		}
		v, err := r.varint()
		if err != nil {
			return 0, 0, false
		}
		if num == 1 {
			seconds = int64(v)
		} else {
			nanos = int32(v)
		}
	}
	return seconds, nanos, true
}

func appendTime(dst, data []byte) ([]byte, bool) {
	p := begin(dst, data)
	ok := p.time(0, len(data))
	return p.done(), ok
}

// time writes the Timestamp message from i to end.
func (p *pass) time(i, end int) bool {
	data := p.src[i:end]
	var seconds int64
	ok := true
	if len(data) == 8 && data[0] == 1<<3 && data[5] < 0x80 && data[1]&data[2]&data[3]&data[4] >= 0x80 && data[6] == 2<<3 && data[7] == 0 {
		// Full seconds from 1978 to 3058 are five bytes.
		w := binary.LittleEndian.Uint64(data)
		seconds = int64(w>>8&0x7f | w>>16&0x7f<<7 | w>>24&0x7f<<14 | w>>32&0x7f<<21 | w>>40&0x7f<<28)
	} else {
		seconds, _, ok = timestamp(data)
	}
	switch {
	case !ok:
		return false
	case len(data) == 0 || seconds == zeroTime:
		p.resume(append(p.done(), "null"...))
		return true
	case seconds < 0 || seconds >= 1<<37: // before 1970 or after the year 6324
		dst := append(p.done(), '"')
		dst = time.Unix(seconds, 0).UTC().AppendFormat(dst, time.RFC3339)
		p.resume(append(dst, '"'))
		return true
	}
	p.setDate(seconds)
	p.room(dateSize)
	*(*[dateSize]byte)(p.dst[p.n : p.n+dateSize]) = p.date
	p.n += dateSize
	return true
}

const (
	minutesOfDay = 24 * 60
	dateSize     = 22
)

// setDate makes the date that of a time, none too far from now, as RFC 3339
// writes it, in quotes.
func (p *pass) setDate(seconds int64) {
	if minute := seconds / 60; minute != p.minute {
		if minute/minutesOfDay != p.minute/minutesOfDay || p.minute < 0 {
			p.date = day(uint32(minute / minutesOfDay))
		}
		p.minute = minute
		ofDay := uint32(minute % minutesOfDay)
		twoDigits(p.date[12:14], ofDay/60)
		twoDigits(p.date[15:17], ofDay%60)
	}
	twoDigits(p.date[18:20], uint32(seconds%60))
}

// day is the midnight that begins a day, which is counted from 1970.
func day(n uint32) [dateSize]byte {
	// Years begin in March here, so that the day that some have is the last,
	// and 400 of them, an era, have the same number of days each.
	n += 719468
	era, ofEra := n/146097, n%146097
	yearOfEra := (ofEra - ofEra/1460 + ofEra/36524 - ofEra/146096) / 365
	ofYear := ofEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	month := (5*ofYear + 2) / 153 // March is 0
	ofMonth := ofYear - (153*month+2)/5 + 1
	year := yearOfEra + era*400
	if month += 3; month > 12 {
		month -= 12
		year++
	}
	text := [dateSize]byte{0: '"', 5: '-', 8: '-', 11: 'T', 14: ':', 17: ':', 20: 'Z', 21: '"'}
	twoDigits(text[1:], year/100)
	twoDigits(text[3:], year%100)
	twoDigits(text[6:], month)
	twoDigits(text[9:], ofMonth)
	for _, i := range [...]int{12, 15, 18} {
		twoDigits(text[i:], 0)
	}
	return text
}

func twoDigits(dst []byte, n uint32) {
	_ = dst[1]
	dst[0], dst[1] = byte('0'+n/10), byte('0'+n%10)
}

func appendMicroTime(dst, data []byte) ([]byte, bool) {
	seconds, nanos, ok := timestamp(data)
	if !ok {
		return dst, false
	}
	nanos -= nanos % 1000
	if len(data) == 0 || seconds == zeroTime && nanos == 0 {
		return append(dst, "null"...), true
	}
	dst = append(dst, '"')
	dst = time.Unix(seconds, int64(nanos)).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000Z07:00")
	return append(dst, '"'), true
}

func appendDuration(dst, data []byte) ([]byte, bool) {
	r := reader{data}
	var d time.Duration
	for r.more() {
		num, wire, err := r.tag()
		if err != nil || num != 1 || wire != wireVarint {
			return dst, false
		}
		v, err := r.varint()
		if err != nil {
			return dst, false
		}
		d = time.Duration(v)
	}
	dst = append(dst, '"')
	dst = append(dst, d.String()...)
	return append(dst, '"'), true
}

// onlyBytes is the content of field 1 of a message that has nothing else.
func onlyBytes(data []byte) ([]byte, bool) {
	if len(data) == 0 {
		return nil, true
	}
	if data[0] != 1<<3|wireBytes {
		return nil, false
	}
	size, n := uvarint(data[1:])
	if n <= 0 || size != uint64(len(data)-1-n) {
		return nil, false
	}
	return data[1+n:], true
}

func appendQuantity(dst, data []byte) ([]byte, bool) {
	if len(data) == 0 {
		return append(dst, `"0"`...), true
	}
	s, ok := onlyBytes(data)
	if !ok {
		return dst, false
	}
	if !canonical(s) {
		q, err := resource.ParseQuantity(string(s))
		if err != nil {
			return dst, false
		}
		s = []byte(q.String())
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"'), true
}

// canonical reports whether a quantity is surely written as Kubernetes writes
// it: an integer of at most nine digits that its suffix cannot be enlarged
// for. Others may be too.
func canonical(s []byte) bool {
	n, digits := 0, 0
	for digits < len(s) && s[digits]-'0' <= 9 {
		n = n*10 + int(s[digits]-'0')
		if digits++; digits > 9 {
			return false
		}
	}
	if digits == 0 || s[0] == '0' {
		return len(s) == 1 && digits == 1
	}
	switch string(s[digits:]) {
	case "", "m", "k", "M", "G":
		return n%1000 != 0
	case "Ki", "Mi", "Gi":
		return n%1024 != 0
	}
	return false
}

func appendIntOrString(dst, data []byte) ([]byte, bool) {
	// A number is followed by an empty string: 8 0 16 n 26 0.
	if n := len(data); n >= 6 && data[0] == 1<<3 && data[1] == 0 && data[2] == 2<<3 && data[n-2] == 3<<3|wireBytes && data[n-1] == 0 {
		if v, k := uvarint(data[3 : n-2]); k == n-5 {
			return strconv.AppendInt(dst, int64(int32(v)), 10), true
		}
	}
	var isString, number uint64
	var text []byte
	r := reader{data}
	for last := 0; r.more(); {
		num, wire, err := r.tag()
		if err != nil || num <= last || num > 3 || (wire != wireVarint) != (num == 3) {
			return dst, false
		}
		last = num
		switch num {
		case 1:
			isString, err = r.varint()
		case 2:
			number, err = r.varint()
		case 3:
			if wire != wireBytes {
				return dst, false
			}
			text, err = r.bytes()
		}
		if err != nil {
			return dst, false
		}
	}
	switch isString {
	case 0:
		return strconv.AppendInt(dst, int64(int32(number)), 10), true
	case 1:
		return AppendQuoted(dst, text), true
	}
	return dst, false
}

// appendStrings writes a message of repeated strings as a list.
func appendStrings(dst, data []byte) ([]byte, bool) {
	dst = append(dst, '[')
	r := reader{data}
	for first := true; r.more(); first = false {
		num, wire, err := r.tag()
		if err != nil || num != 1 || wire != wireBytes {
			return dst, false
		}
		s, err := r.bytes()
		if err != nil {
			return dst, false
		}
		if !first {
			dst = append(dst, ',')
		}
		dst = AppendQuoted(dst, s)
	}
	return append(dst, ']'), true
}

// appendRaw writes JSON that is kept inside of protobuf. It is looked over,
// since an answer must stay whole whatever an object holds.
func appendRaw(dst, data []byte) ([]byte, bool) {
	s, ok := onlyBytes(data)
	if !ok {
		return dst, false
	}
	if len(s) == 0 {
		return append(dst, "null"...), len(data) == 0
	}
	if knownCompact(s) {
		return append(dst, s...), true
	}
	if s[0] != '{' && s[0] != '[' {
		return dst, false
	}
	b := bytes.NewBuffer(dst)
	if json.Compact(b, s) != nil {
		return dst, false
	}
	return b.Bytes(), true
}

// appendOther goes over the value's own struct.
func appendOther(dst []byte, t reflect.Type, data []byte) ([]byte, bool) {
	v := reflect.New(t).Interface()
	if err := v.(interface{ Unmarshal([]byte) error }).Unmarshal(data); err != nil {
		return dst, false
	}
	b, err := json.Marshal(v)
	return append(dst, b...), err == nil
}
