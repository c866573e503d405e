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

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/admission"
	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/imagescan"
)

// options are the command line.
type options struct {
	server         serverOptions
	certificates   certificateOptions
	callers        callerOptions
	presets        string
	pprofAddress   string
	metricsAddress string
	healthAddress  string
	logLevel       slog.Level
	logFormat      string
	shutdownDelay  time.Duration
	plainHTTP      []string
	allowAddresses []netip.Prefix
	denyAddresses  []netip.Prefix
	architectures  []string
	early          bool
	readConfigMaps bool
	tables         bool
	tagsFor        time.Duration
	failuresFor    time.Duration
	registries     imagescan.Registries
	registryCAs    []string
	registryConfig string
	// A kubelet's, under the names of its own flags.
	providerConfig  string
	providerPlugins string
	limits          imagescan.Limits
	reviewMemory    int64
}

// parseOptions reads the command line. It returns flag.ErrHelp after printing
// the usage that was asked for.
func parseOptions(args []string, output io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("webhook", flag.ContinueOnError)
	flags.SetOutput(output)
	o.server.register(flags)
	o.certificates.register(flags)
	o.callers.register(flags)
	flags.StringVar(&o.presets, "preset-policies", "", "`file` of ClusterCapsetPolicies that hold besides those of the cluster")
	flags.StringVar(&o.pprofAddress, "pprof-address", "", "`address` to serve /debug/pprof on, such as 127.0.0.1:6060; empty: nowhere")
	flags.StringVar(&o.metricsAddress, "metrics-address", ":8080", "`address` to serve /metrics on; 0: nowhere")
	flags.StringVar(&o.healthAddress, "health-address", ":8081", "`address` to serve /healthz and /readyz on")
	flags.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "least `level` to log: debug, info, warn or error")
	flags.StringVar(&o.logFormat, "log-format", "json", "json or text")
	flags.DurationVar(&o.shutdownDelay, "shutdown-delay", 5*time.Second, "how long to go on serving, no longer ready, after SIGTERM, so that endpoints are withdrawn first")
	flags.Func("plain-http", "`registry` (host or host:port) that is spoken to without TLS; may be repeated", func(s string) error {
		o.plainHTTP = append(o.plainHTTP, s)
		return nil
	})
	flags.Func("allow-address", "`network` (CIDR) of registries that is connected to though it is refused by default, as loopback is; may be repeated", addPrefix(&o.allowAddresses))
	flags.Func("deny-address", "`network` (CIDR) that is never connected to; may be repeated", addPrefix(&o.denyAddresses))
	flags.Func("architecture", "`GOARCH` name of an architecture that Pods can land on though no node has it now, as of a pool that is scaled to zero; may be repeated", func(s string) error {
		if !slices.Contains(v1alpha1.Architectures(), v1alpha1.Architecture(s)) {
			return fmt.Errorf("give one of %v", v1alpha1.Architectures())
		}
		o.architectures = append(o.architectures, s)
		return nil
	})
	flags.BoolVar(&o.early, "early", true, "answer as soon as a legacy executable is proven, and read the rest of its image behind the answer")
	flags.BoolVar(&o.tables, "toc", false, "read layers of eStargz and zstd:chunked images through their tables of contents: faster, but nothing proves that the rest of the layer agrees with its table")
	flags.BoolVar(&o.readConfigMaps, "read-configmaps", false, "for policies with trigger: Start, read the configuration of HAProxy that a Pod mounts from a ConfigMap; needs the right to get configmaps")
	flags.DurationVar(&o.tagsFor, "remember-tags", 30*time.Second, "how long it is remembered what an image reference led to, for the same credentials; 0: not at all")
	flags.DurationVar(&o.failuresFor, "remember-failures", 10*time.Second, "how long it is remembered that an image could not be read, for the same credentials; 0: not at all")
	flags.Func("allow-registry", "`glob` of the only registries (host or host:port) that are read from, such as *.example.com; may be repeated", addTo(&o.registries.Allow))
	flags.Func("deny-registry", "`glob` of registries that are never read from; may be repeated", addTo(&o.registries.Deny))
	flags.Func("registry-ca", "`file` with certificate authorities, in PEM form, that registries' certificates are trusted from besides the system's; may be repeated", addTo(&o.registryCAs))
	flags.StringVar(&o.registryConfig, "registry-config", "", "`folder` with a hosts.toml for each registry, as the nodes' containerd has it: mirrors, certificate authorities, client certificates; empty: none")
	flags.StringVar(&o.providerConfig, "image-credential-provider-config", "", "`file` with a kubelet's CredentialProviderConfig: plugins with the credentials that capvet's own identity has in a cloud's registry; empty: none")
	flags.StringVar(&o.providerPlugins, "image-credential-provider-bin-dir", "", "`folder` with those plugins")
	flags.Int64Var(&o.reviewMemory, "max-review-memory", admission.DefaultReviewMemory, "`bytes` that all reviews being answered have together; more are refused, which the failurePolicy judges")
	registerLimits(flags, &o.limits)
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
	if err := errors.Join(o.server.validate(), o.certificates.validate(), o.callers.validate()); err != nil {
		return options{}, err
	}
	return o, nil
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

// registerLimits makes each bound of a scan a flag.
func registerLimits(flags *flag.FlagSet, l *imagescan.Limits) {
	flags.DurationVar(&l.StallTime, "stall-time", imagescan.DefaultStallTime, "how long a registry may send nothing of a layer")
	flags.Int64Var(&l.StallBytes, "stall-bytes", imagescan.DefaultStallBytes, "least `bytes` that a registry has to send of a layer in each --stall-time")
	flags.DurationVar(&l.ScanTime, "scan-time", imagescan.DefaultScanTime, "how long one scan may take, however short its callers wait")
	flags.Int64Var(&l.Scans, "max-scans", imagescan.DefaultScans, "scans at a time; a quarter of them is kept for namespaces that have none running")
	flags.IntVar(&l.Waiting, "max-waiting-scans", imagescan.DefaultWaiting, "requests that may wait for their turn to be scanned; beyond it the namespace with the most of them is turned away")
	flags.Int64Var(&l.Memory, "max-scan-memory", imagescan.DefaultMemory, "`bytes` that all scans together hold at a time: one half for files, the other for zstd windows")
	flags.IntVar(&l.Cache, "max-cached-reports", imagescan.DefaultCache, "reports to keep")
	flags.IntVar(&l.Layers, "max-layers", imagescan.DefaultLayers, "layers of one image")
	flags.IntVar(&l.LayersAtOnce, "max-layers-at-once", imagescan.DefaultLayersAtOnce(), "layers of one image that are read at a time; by default as many as there are cores")
	flags.Int64Var(&l.LayerCache, "max-cached-layer-bytes", imagescan.DefaultLayerCache, "`bytes` of what is remembered of layers")
	flags.Int64Var(&l.LayerBytes, "max-layer-bytes", imagescan.DefaultLayerBytes, "`bytes` of one packed layer")
	flags.Int64Var(&l.Layer.UnpackedBytes, "max-unpacked-bytes", imagefs.DefaultUnpackedBytes, "`bytes` of one unpacked layer")
	flags.Int64Var(&l.Layer.Ratio, "max-ratio", imagefs.DefaultRatio, "how many times its packed size a large layer may unpack to")
	flags.Int64Var(&l.Layer.WindowBytes, "max-zstd-window", imagefs.DefaultWindowBytes, "`bytes` of the window that a zstd layer may ask for")
	flags.Int64Var(&l.TableBytes, "max-table-bytes", imagescan.DefaultTableBytes, "`bytes` of the table of contents of one layer, packed or not; with a larger one the layer is read in full")
	flags.Int64Var(&l.TableFrom, "toc-from", imagescan.DefaultTableFrom, "`bytes` of the smallest packed layer that is read through its table of contents")
	flags.IntVar(&l.Layer.Entries, "max-entries", imagefs.DefaultEntries, "entries of one layer")
	flags.Int64Var(&l.FileBytes, "max-file-bytes", imagescan.DefaultFileBytes, "`bytes` of one executable that is looked at")
	flags.IntVar(&l.Executables, "max-executables", imagescan.DefaultExecutables, "executables and libraries of one layer that are looked at for a policy with binaries: All")
	flags.Int64Var(&l.ExecutableBytes, "max-executable-bytes", imagescan.DefaultExecutableBytes, "`bytes` of those of one layer")
	flags.IntVar(&l.Layer.Files, "max-files", imagefs.DefaultFiles, "executables of one layer that are looked at")
	flags.Int64Var(&l.Layer.LinkBytes, "max-link-bytes", imagefs.DefaultLinkBytes, "`bytes` of the names and targets of one layer's links")
	flags.IntVar(&l.Layer.NameBytes, "max-name-bytes", imagefs.DefaultNameBytes, "`bytes` of one path in a layer")
}
