package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/imagescan"
	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/registry"
	"github.com/capvet/capvet/internal/reviewserver"
)

// options are the settings of the command line. Clients, loggers and metrics are added to those
// of other packages later.
type options struct {
	server         reviewserver.Options
	manager        manager.Options
	certificates   certificateOptions
	registry       registry.Options
	registryCAs    []string
	scanner        imagescan.Options
	early          bool
	presets        string
	logLevel       slog.Level
	logFormat      string
	shutdownDelay  time.Duration
	architectures  []string
	readConfigMaps bool
	// The names of these flags are those of a kubelet.
	providerConfig  string
	providerPlugins string
}

// parseOptions reads the command line. After printing the usage for --help it
// returns flag.ErrHelp.
func parseOptions(args []string, output io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("webhook", flag.ContinueOnError)
	flags.SetOutput(output)
	registerServer(flags, &o.server)
	o.certificates.register(flags)
	registerProcess(flags, &o)
	registerRegistries(flags, &o)
	registerScans(flags, &o)
	registerLimits(flags, &o.scanner.Limits)
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
	if (o.providerConfig == "") != (o.providerPlugins == "") {
		return options{}, errors.New("give both --image-credential-provider-config and --image-credential-provider-bin-dir, or neither")
	}
	if err := errors.Join(validateServer(&o.server), o.certificates.validate()); err != nil {
		return options{}, err
	}
	return o, nil
}

func registerProcess(flags *flag.FlagSet, o *options) {
	flags.StringVar(&o.presets, "preset-policies", "", "`file` of ClusterCapsetPolicies that apply in addition to those of the cluster")
	flags.StringVar(&o.manager.PprofBindAddress, "pprof-address", "",
		"`address` to serve /debug/pprof on, such as 127.0.0.1:6060; empty: /debug/pprof is not served")
	flags.StringVar(&o.manager.Metrics.BindAddress, "metrics-address", ":8080", "`address` to serve /metrics on; 0: /metrics is not served")
	flags.StringVar(&o.manager.HealthProbeBindAddress, "health-address", ":8081", "`address` to serve /healthz and /readyz on")
	flags.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "lowest `level` to log: debug, info, warn or error")
	flags.StringVar(&o.logFormat, "log-format", "json", "json or text")
	flags.DurationVar(&o.shutdownDelay, "shutdown-delay", 5*time.Second,
		"how long to serve after SIGTERM, no longer ready, until the endpoints are withdrawn")
}

func registerRegistries(flags *flag.FlagSet, o *options) {
	flags.Func("plain-http", "`registry` (host or host:port) to connect to without TLS; may be repeated", addTo(&o.registry.PlainHTTP))
	flags.Func("allow-address", "`network` (CIDR) of registries that is refused by default, such as loopback; may be repeated",
		addPrefix(&o.registry.Allow))
	flags.Func("deny-address", "`network` (CIDR) to refuse connections to; may be repeated", addPrefix(&o.registry.Deny))
	flags.Func("allow-registry", "`glob` of registries (host or host:port), such as *.example.com; all others are refused; may be repeated",
		addTo(&o.registry.Access.Allow))
	flags.Func("deny-registry", "`glob` of registries to refuse; may be repeated", addTo(&o.registry.Access.Deny))
	flags.Func("registry-ca", "`file` with certificate authorities of registries, in PEM form, in addition to the system's; may be repeated",
		addTo(&o.registryCAs))
	flags.StringVar(&o.registry.HostsDir, "registry-config", "",
		"`folder` with a hosts.toml for each registry, as for containerd: mirrors, certificate authorities, client certificates")
	flags.StringVar(&o.providerConfig, "image-credential-provider-config", "",
		"`file` with a kubelet's CredentialProviderConfig: plugins that provide credentials for capvet's own identity in a cloud")
	flags.StringVar(&o.providerPlugins, "image-credential-provider-bin-dir", "",
		"`folder` with the plugins of --image-credential-provider-config")
	flags.DurationVar(&o.registry.StallTime, "stall-time", registry.DefaultStallTime, "how long a registry may send no data of an answer")
	flags.Int64Var(&o.registry.StallBytes, "stall-bytes", registry.DefaultStallBytes,
		"minimum `bytes` of an answer that a registry must send in each --stall-time")
}

func registerScans(flags *flag.FlagSet, o *options) {
	flags.Func("architecture", "`GOARCH` name of an architecture that Pods can land on although no node has it at the moment, "+
		"such as that of a node pool that is scaled to zero; may be repeated", func(s string) error {
		if known := v1alpha1.Architecture(s).Values(); !slices.Contains(known, s) {
			return fmt.Errorf("give one of %v", known)
		}
		o.architectures = append(o.architectures, s)
		return nil
	})
	flags.BoolVar(&o.early, "early", true, "answer as soon as a legacy executable is proven, and read the rest of its image in the background")
	flags.BoolVar(&o.scanner.TOC, "toc", false,
		"read eStargz and zstd:chunked layers through their tables of contents: faster, but a table is not proven to match its layer")
	flags.BoolVar(&o.readConfigMaps, "read-configmaps", false,
		"for policies with trigger: Start, read HAProxy's configuration from a Pod's ConfigMaps; needs permission to get configmaps")
	flags.DurationVar(&o.scanner.ResolutionTTL, "remember-tags", 30*time.Second,
		"how long to cache the digest of an image reference, for the same credentials; 0: no caching")
	flags.DurationVar(&o.scanner.FailureTTL, "remember-failures", 10*time.Second,
		"how long to cache the error of an image that could not be read, for the same credentials; 0: no caching")
}

// registerLimits makes each limit of a scan a flag.
func registerLimits(flags *flag.FlagSet, l *imagescan.Limits) {
	flags.DurationVar(&l.ScanTime, "scan-time", imagescan.DefaultScanTime,
		"time limit of one scan, which continues after the deadlines of its requests")
	flags.Int64Var(&l.Scans, "max-scans", imagescan.DefaultScans,
		"scans at a time; a quarter is reserved for namespaces without a running scan")
	flags.IntVar(&l.Waiting, "max-waiting-scans", imagescan.DefaultWaiting,
		"requests in the queue for a scan; a further one evicts a request of the namespace with the most")
	flags.Int64Var(&l.Memory, "max-scan-memory", imagescan.DefaultMemory,
		"`bytes` that all scans together hold at a time: one half for files and large manifests, the other for zstd windows")
	flags.IntVar(&l.Cache, "max-cached-reports", imagescan.DefaultCache, "cached reports")
	flags.Int64Var(&l.ReportCache, "max-cached-report-bytes", imagescan.DefaultReportCache, "`bytes` of cached reports")
	flags.IntVar(&l.Layers, "max-layers", layers.DefaultLayers, "layers of one image")
	flags.IntVar(&l.LayersAtOnce, "max-layers-at-once", layers.DefaultLayersAtOnce(),
		"layers of one image that are read at a time; the default is the number of cores")
	flags.Int64Var(&l.LayerCache, "max-cached-layer-bytes", imagescan.DefaultLayerCache, "`bytes` of cached results of layers")
	flags.Int64Var(&l.LayerBytes, "max-layer-bytes", layers.DefaultLayerBytes, "`bytes` of one packed layer")
	flags.Int64Var(&l.Layer.UnpackedBytes, "max-unpacked-bytes", imagefs.DefaultUnpackedBytes, "`bytes` of one unpacked layer")
	flags.Int64Var(&l.Layer.Ratio, "max-ratio", imagefs.DefaultRatio, "ratio of the unpacked to the packed size of a large layer")
	flags.Int64Var(&l.Layer.WindowBytes, "max-zstd-window", imagefs.DefaultWindowBytes, "`bytes` of a zstd layer's window")
	flags.Int64Var(&l.TOCBytes, "max-table-bytes", layers.DefaultTOCBytes,
		"`bytes` of the table of contents of one layer, packed or not; a layer with a larger one is read in full")
	flags.Int64Var(&l.TOCFrom, "toc-from", layers.DefaultTOCFrom,
		"`bytes` of the smallest packed layer that is read through its table of contents")
	flags.IntVar(&l.Layer.Entries, "max-entries", imagefs.DefaultEntries, "entries of one layer, and directories with content")
	flags.Int64Var(&l.ResultBytes, "max-result-bytes", layers.DefaultResultBytes,
		"`bytes` of memory of the results of one image's layers: paths, links and analyses")
	flags.Int64Var(&l.FileBytes, "max-file-bytes", layers.DefaultFileBytes, "`bytes` of one executable")
	flags.IntVar(&l.Executables, "max-executables", layers.DefaultExecutables,
		"executables and libraries of one layer that are read for a policy with binaries: All")
	flags.Int64Var(&l.ExecutableBytes, "max-executable-bytes", layers.DefaultExecutableBytes,
		"`bytes` of all executables and libraries of one layer that are read for a policy with binaries: All")
	flags.IntVar(&l.Layer.Files, "max-files", imagefs.DefaultFiles, "candidate executables of one layer")
	flags.Int64Var(&l.Layer.LinkBytes, "max-link-bytes", imagefs.DefaultLinkBytes, "`bytes` of the names and targets of one layer's links")
	flags.IntVar(&l.Layer.NameBytes, "max-name-bytes", imagefs.DefaultNameBytes, "`bytes` of one path in a layer")
}

func addTo(list *[]string) func(string) error {
	return func(s string) error {
		*list = append(*list, s)
		return nil
	}
}

func addPrefix(list *[]netip.Prefix) func(string) error {
	return func(s string) error {
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			return fmt.Errorf("give a network such as 10.0.0.0/8: %w", err)
		}
		*list = append(*list, prefix)
		return nil
	}
}
