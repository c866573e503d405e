package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client/config"
)

// options are the command line.
type options struct {
	host           string
	port           int
	certDir        string
	metricsAddress string
	healthAddress  string
	logLevel       slog.Level
	logFormat      string
	shutdownDelay  time.Duration
}

// parseOptions reads the command line. It returns flag.ErrHelp after printing
// the usage that was asked for.
func parseOptions(args []string, output io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("webhook", flag.ContinueOnError)
	flags.SetOutput(output)
	flags.StringVar(&o.host, "host", "", "`address` to serve admission reviews on; empty: all")
	flags.IntVar(&o.port, "port", 9443, "port to serve admission reviews on")
	flags.StringVar(&o.certDir, "cert-dir", "/var/run/capvet/tls", "`folder` with tls.crt and tls.key; both are read again when they change")
	flags.StringVar(&o.metricsAddress, "metrics-address", ":8080", "`address` to serve /metrics on; 0: nowhere")
	flags.StringVar(&o.healthAddress, "health-address", ":8081", "`address` to serve /healthz and /readyz on")
	flags.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "least `level` to log: debug, info, warn or error")
	flags.StringVar(&o.logFormat, "log-format", "json", "json or text")
	flags.DurationVar(&o.shutdownDelay, "shutdown-delay", 5*time.Second, "how long to go on serving, no longer ready, after SIGTERM, so that endpoints are withdrawn first")
	config.RegisterFlags(flags)
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q: everything is set by flags, see --help", strings.Join(flags.Args(), " "))
	}
	if o.logFormat != "json" && o.logFormat != "text" {
		return options{}, fmt.Errorf("--log-format is %q: give json or text", o.logFormat)
	}
	return o, nil
}
