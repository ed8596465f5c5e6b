// Command kube-apiserver serves the Kubernetes API, REST and gRPC, from etcd.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"xebec.dev/apiserver/internal/config"
	"xebec.dev/apiserver/internal/server"
	"xebec.dev/apiserver/internal/version"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	cfg := &config.Config{}
	flags := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	flags.SortFlags = true
	cfg.Flags(flags)
	showVersion := flags.String("version", "", "Print the version and exit; raw prints it all.")
	flags.Lookup("version").NoOptDefVal = "true"
	flags.Usage = func() { fmt.Fprintf(os.Stdout, "Usage: kube-apiserver [flags]\n\n%s", flags.FlagUsages()) }
	switch err := flags.Parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(os.Stderr, "kube-apiserver: %v%s\n", err, config.Suggest(flags, err))
		return 1
	case len(flags.Args()) > 0:
		fmt.Fprintf(os.Stderr, "kube-apiserver: takes flags only, got %q\n", flags.Args())
		return 1
	}
	if *showVersion != "" {
		fmt.Println("Kubernetes " + version.GitVersion)
		return 0
	}
	log := newLog(cfg)
	defer func() { _ = log.Sync() }() // standard error can't always be synced
	for name, reason := range config.Ignored(flags) {
		log.Warn("a flag has no effect", zap.String("flag", "--"+name), zap.String("reason", reason))
	}
	if err := serve(cfg, log); err != nil {
		log.Error("kube-apiserver stopped", zap.Error(err))
		return 1
	}
	return 0
}

func serve(cfg *config.Config, log *zap.Logger) error {
	if err := cfg.Complete(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	s, err := server.New(cfg, log)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

func newLog(cfg *config.Config) *zap.Logger {
	level := zapcore.InfoLevel
	if cfg.Verbosity >= 4 {
		level = zapcore.DebugLevel
	}
	ec := zap.NewProductionEncoderConfig()
	ec.EncodeTime = zapcore.ISO8601TimeEncoder
	enc := zapcore.NewConsoleEncoder(ec)
	if cfg.LogFormat == "json" {
		enc = zapcore.NewJSONEncoder(ec)
	}
	return zap.New(zapcore.NewCore(enc, zapcore.Lock(os.Stderr), level))
}
