package codec

// opcode says which way a pass handles a field.
type opcode uint8

const (
	opUnknown opcode = iota
	opString
	opStrings
	opBool
	opInt32
	opInt64
	opTime
	opIntOrString
	opMessage
	opMessages
	// opInline is a message whose fields are written among those around it.
	opInline
	// opMeta is the message that gets the resourceVersion.
	opMeta
	// opMap has strings or quantities for values.
	opMap
	// opOther is any other field: its plan says how.
	opOther
)

// maxKey is the longest name, with comma, quotes and colon, that an op holds.
const maxKey = 32

// op is what a pass needs to know of a field: a cache line of it.
type op struct {
	// key is `,"name":`, padded so that copying it takes no loop.
	key       [maxKey]byte
	keySize   uint8
	code      opcode
	wire      uint8
	omitEmpty bool
	message   *message
	field     *fieldPlan
	_         [8]byte // a power of two is found without multiplying
}

func (f *fieldPlan) op() op {
	o := op{code: opOther, wire: f.wire, omitEmpty: f.omitEmpty && !f.pointer, message: f.message, field: f, keySize: uint8(len(f.name))}
	if f.inline && f.kind == kindMessage && !f.repeated && !f.isMap {
		o.code = opInline
		return o
	}
	if len(f.name) > maxKey || f.inline || f.revision {
		return o
	}
	copy(o.key[:], f.name)
	switch {
	case f.isMap:
		if f.kind == kindString || f.kind == kindQuantity {
			o.code = opMap
		}
	case f.repeated:
		switch f.kind {
		case kindString:
			o.code = opStrings
		case kindMessage:
			o.code = opMessages
		}
	case f.objectMeta:
		o.code = opMeta
	case f.omitZero && !f.pointer:
	default:
		if code, ok := opcodes[f.kind]; ok {
			o.code = code
		}
	}
	return o
}

var opcodes = map[kind]opcode{
	kindString: opString, kindBool: opBool, kindInt32: opInt32, kindInt64: opInt64,
	kindTime: opTime, kindIntOrString: opIntOrString, kindMessage: opMessage,
}
