package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/capvet/capvet/internal/imagescan"
	"github.com/capvet/capvet/internal/judge"
	"github.com/capvet/capvet/internal/manifest"
	"github.com/capvet/capvet/internal/placement"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/internal/subject"
)

// checkOptions are the command line of check.
type checkOptions struct {
	files, policies []string
	namespace       string
	namespaceLabels []string
	excluded        []string
	registries      registryOptions
	format          *choice
}

func newCheckCommand() *cobra.Command {
	o := checkOptions{format: newChoice("format", formatText, formatJSON, formatSARIF)}
	cmd := &cobra.Command{
		Use:   "check -f MANIFEST... --policy FILE...",
		Short: "Judge manifests as the webhook would, without a cluster",
		Long: `Check judges the Pods and workloads of manifests under policies, as the webhook
would: it reads their images (with the credentials of docker login) and prints
the warnings and rejections. Namespaces are Namespace objects of the manifests,
or are given by --namespace-labels; others have no label except
kubernetes.io/metadata.name. Like the webhook, check skips some namespaces: see
--exclude-namespaces. Configuration files that Pods mount are read from ConfigMaps
of the manifests. Nodes are unknown, so that every architecture counts that the
Pod's own spec allows.

Exit codes: 0 no findings, 3 an object is rejected or legacy use was found,
1 an image could not be read, 2 wrong usage.`,
		Example: `  capvet check -f deployment.yaml --policy policies.yaml
  kustomize build . | capvet check -f - --policy policies.yaml --output sarif
  capvet check -f pod.yaml --policy policies.yaml --namespace shop --namespace-labels shop:capvet.dev/mode=reject`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if slices.Contains(o.files, "-") && slices.Contains(o.policies, "-") {
				return exitError{exitUsage, errors.New("standard input cannot be both -f and --policy")}
			}
			c, err := newCheck(cmd, o)
			if err != nil {
				return asExit(err)
			}
			checked, err := c.all(cmd.Context())
			if err != nil {
				return exitError{exitFailed, err}
			}
			for _, object := range c.input.passedOver {
				fmt.Fprintf(cmd.ErrOrStderr(), "capvet: %s:%d: %s %s is passed over: give policies to apply with --policy\n",
					clean(object.File), object.Line, clean(object.Kind), clean(object.Metadata.Name))
			}
			if len(checked) == 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "capvet: nothing was judged: the manifests hold %d objects, "+
					"and no Pod or workload that the webhook judges\n", len(c.input.objects))
			}
			if err := writeChecked(cmd.OutOrStdout(), o.format.value, checked); err != nil {
				return exitError{exitFailed, fmt.Errorf("writing the result: %w", err)}
			}
			return checkOutcome(checked)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&o.files, "filename", "f", nil, "`file` with manifests in YAML or JSON, - for standard input; may be repeated")
	flags.StringArrayVar(&o.policies, "policy", nil, "`file` with ClusterCapsetPolicies and CapsetPolicies; may be repeated")
	flags.StringVar(&o.namespace, "namespace", "default", "`namespace` of objects without one")
	flags.StringArrayVar(&o.namespaceLabels, "namespace-labels", nil, "labels of a namespace, as `NAME:KEY=VALUE,...`; may be repeated")
	flags.StringSliceVar(&o.excluded, "exclude-namespaces", []string{"kube-system", "capvet-system"},
		"`namespaces` that the installed webhook does not see")
	o.registries.register(flags)
	flags.Var(o.format, "output", "`format` of the result: text, json or sarif")
	for _, name := range []string{"filename", "policy"} {
		_ = cmd.MarkFlagRequired(name) // fails only for an unknown flag
	}
	return cmd
}

// check is one run of the command.
type check struct {
	input      checkInput
	excluded   []string // namespaces
	registries registryOptions
	scanner    *imagescan.Scanner
	now        time.Time
	read       sync.Map // of reading, by a hash of all fields of a judge.Wanted
}

// reading is the result of reading one image.
type reading struct {
	report report.Report
	err    error
}

// checked is the decision about one object.
type checked struct {
	manifest.Object
	namespace string
	workload  bool
	decision  policy.Decision
}

func newCheck(cmd *cobra.Command, o checkOptions) (*check, error) {
	input, err := readCheckInput(cmd.InOrStdin(), o)
	if err != nil {
		return nil, err
	}
	scanner, err := o.registries.scanner(false)
	return &check{input: input, excluded: o.excluded, registries: o.registries, scanner: scanner, now: time.Now()}, err
}

// all judges the Pods and workloads, in the order of the files.
func (c *check) all(ctx context.Context) ([]checked, error) {
	var all []checked
	for _, object := range c.input.objects {
		if !subject.Judged(object.Group(), object.Kind) {
			continue
		}
		s, err := subject.Decode(object.Kind, object.JSON)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", object.File, object.Line, err)
		}
		namespace := c.input.namespaceOf(object)
		if s.LeftAlone() || slices.Contains(c.excluded, namespace) {
			continue
		}
		all = append(all, checked{object, namespace, s.Workload(), c.judge(ctx, s, namespace)})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return all, nil
}

func (c *check) judge(ctx context.Context, s *subject.Subject, namespace string) policy.Decision {
	namespaceLabels := c.input.labelsOf(namespace)
	matching := slices.DeleteFunc(slices.Clone(c.input.policies), func(p policy.Policy) bool {
		return !p.Matches(namespaceLabels, s.Template.Labels)
	})
	decision, _ := judge.Decide(c.now, matching, s.ToJudge(s.Images(), placement.Architectures), judge.Sources{
		Image: func(wanted judge.Wanted) (report.Report, error) { return c.scan(ctx, wanted) },
		Settings: func(configMap, key string) (report.Settings, bool) {
			return c.input.settings(namespace, configMap, key)
		},
	})
	decision.Findings = append(decision.Findings, decision.PodsRejected...)
	return decision
}

// scan reads an image once for all objects that use it alike.
func (c *check) scan(ctx context.Context, wanted judge.Wanted) (report.Report, error) {
	// A hash: an object may have megabytes of words.
	key := sha256.Sum256(fmt.Appendf(nil, "%s %s %v %q", wanted.Reference, wanted.Platform, wanted.Scope, wanted.Words))
	if known, ok := c.read.Load(key); ok {
		return known.(reading).report, known.(reading).err
	}
	r, err := c.registries.read(ctx, imagescan.Request{
		Reference: wanted.Reference, Platform: wanted.Platform, Credentials: keychain{}, Hinted: !wanted.Scope.AllImages, Words: wanted.Words,
		AllBinaries: wanted.Scope.AllBinaries,
	}, c.scanner.Scan)
	c.read.Store(key, reading{r, err})
	return r, err
}

// checkOutcome chooses the exit code: a rejection or legacy use takes precedence over an image
// that could not be read.
func checkOutcome(all []checked) error {
	failed := false
	for _, c := range all {
		if c.decision.Action == policy.ActionReject {
			return exitError{code: exitLegacy}
		}
		for _, f := range c.decision.Findings {
			switch {
			case f.Rule == policy.RuleLegacy, f.Pods == policy.ActionReject:
				return exitError{code: exitLegacy}
			case f.Rule == policy.RuleScanError:
				failed = true
			}
		}
	}
	if failed {
		return exitError{code: exitFailed}
	}
	return nil
}
