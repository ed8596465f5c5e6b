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

// SetLog replaces the log by one as a configuration file says; flags that were
// given come first.
func (p *Process) SetLog(format string, verbosity int) error {
	f := *p.Flags
	if format != "" && !p.Changed("logging-format") {
		f.LogFormat = format
	}
	if !p.Changed("v") {
		f.Verbosity = verbosity
	}
	log, err := newLog(&f, p.stderr)
	if err != nil {
		return err
	}
	p.Log = log
	return nil
}
