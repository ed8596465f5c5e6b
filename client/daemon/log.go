package daemon

import (
	"fmt"
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// debugFrom is the verbosity from which details are logged.
const debugFrom = 4

func newLog(f *Flags, w io.Writer) (*zap.Logger, error) {
	level := zapcore.InfoLevel
	if f.Verbosity >= debugFrom {
		level = zapcore.DebugLevel
	}
	ec := zap.NewProductionEncoderConfig()
	ec.EncodeTime = zapcore.ISO8601TimeEncoder
	var enc zapcore.Encoder
	switch f.LogFormat {
	case "text", "":
		enc = zapcore.NewConsoleEncoder(ec)
	case "json":
		enc = zapcore.NewJSONEncoder(ec)
	default:
		return nil, fmt.Errorf("--logging-format: %q is neither text nor json", f.LogFormat)
	}
	return zap.New(zapcore.NewCore(enc, zapcore.Lock(zapcore.AddSync(w)), level)), nil
}
