package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/imagescan"
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
	format          checkFormat
}

func newCheckCommand() *cobra.Command {
	o := checkOptions{format: checkText}
	cmd := &cobra.Command{
		Use:   "check -f MANIFEST... --policy FILE...",
		Short: "Say what admission would say of manifests, without a cluster",
		Long: `Check judges the Pods and workloads of manifests under policies, as the webhook
would: it reads their images (with the credentials of docker login) and prints
what whoever applies them would be told. Namespaces are Namespace objects of the
manifests, or are given by --namespace-labels; others have no labels but
kubernetes.io/metadata.name. As the webhook leaves some namespaces alone, so does
check: see --exclude-namespaces. Configuration files that Pods mount are read from
ConfigMaps of the manifests. Nodes are not known, so every architecture counts
that the Pod's own spec allows.

Exit codes: 0 nothing found, 3 something is rejected or legacy use was found,
1 something could not be read, 2 usage.`,
		Example: `  capvet check -f deployment.yaml --policy policies.yaml
  kustomize build . | capvet check -f - --policy policies.yaml --output sarif
  capvet check -f pod.yaml --policy policies.yaml --namespace shop --namespace-labels shop:capvet.dev/mode=reject`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newCheck(cmd, o)
			var usage exitError
			if errors.As(err, &usage) {
				return usage
			}
			if err != nil {
				return exitError{exitFailed, err}
			}
			checked, err := c.all(cmd.Context())
			if err != nil {
				return exitError{exitFailed, err}
			}
			for _, object := range c.input.passedOver {
				fmt.Fprintf(cmd.ErrOrStderr(), "capvet: %s:%d: %s %s is passed over: what is judged by is given with --policy\n",
					clean(object.File), object.Line, clean(object.Kind), clean(object.Metadata.Name))
			}
			if len(checked) == 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "capvet: nothing was judged: of the %d objects in the manifests none is a Pod or workload that the webhook looks at\n", len(c.input.objects))
			}
			if err := o.format.write(cmd.OutOrStdout(), checked); err != nil {
				return exitError{exitFailed, fmt.Errorf("writing the result: %w", err)}
			}
			return checkOutcome(checked)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&o.files, "filename", "f", nil, "`file` with manifests in YAML or JSON, - for standard input; may be repeated")
	flags.StringArrayVar(&o.policies, "policy", nil, "`file` with ClusterCapsetPolicies and CapsetPolicies; may be repeated")
	flags.StringVar(&o.namespace, "namespace", "default", "`namespace` of objects that name none")
	flags.StringArrayVar(&o.namespaceLabels, "namespace-labels", nil, "labels of a namespace, as `NAME:KEY=VALUE,...`; may be repeated")
	flags.StringSliceVar(&o.excluded, "exclude-namespaces", []string{"kube-system", "capvet-system"}, "`namespaces` that the webhook never sees, as it is installed")
	o.registries.register(flags)
	flags.Var(&o.format, "output", "`format` of the result: text, json or sarif")
	for _, name := range []string{"filename", "policy"} {
		_ = cmd.MarkFlagRequired(name) // both exist
	}
	return cmd
}

// check is one run of the command.
type check struct {
	input    checkInput
	excluded []string // namespaces
	scanner  *imagescan.Scanner
	now      time.Time
	read     map[readKey]policy.Image // Report or Failure
}

// readKey is what an image's report depends on.
type readKey struct {
	reference, architecture, words string
	scope                          policy.Scope
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
	return &check{input: input, excluded: o.excluded, scanner: scanner, now: time.Now(), read: map[readKey]policy.Image{}}, err
}

// all judges every object that is ever judged, in the order of the files.
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
	var matching []policy.Policy
	for i := range c.input.policies {
		if c.input.policies[i].Matches(c.input.labelsOf(namespace), s.Template.Labels) {
			matching = append(matching, c.input.policies[i])
		}
	}
	architectures := placement.Architectures(&s.Template.Spec, policy.Architectures(matching))
	images := policy.Spread(s.Images(), architectures)
	for i := range images {
		if scope, wanted := policy.Wanted(c.now, matching, images[i]); wanted {
			images[i].Report, images[i].Failure = c.scan(ctx, images[i], scope)
		}
	}
	s.ReadFiles(c.now, matching, images, func(configMap, key string) (report.Settings, bool) {
		return c.input.settings(namespace, configMap, key)
	})
	if !s.Workload() {
		return policy.Evaluate(c.now, matching, images)
	}
	decision := policy.EvaluateWorkload(c.now, matching, images)
	if decision.Action != v1alpha1.ActionIgnore {
		return decision
	}
	// Whoever applies it hears nothing, and yet no Pod may come of it.
	if pods := policy.Evaluate(c.now, matching, images); pods.Action == v1alpha1.ActionReject {
		for _, f := range pods.Findings {
			f.Pods, f.PodsPolicy, f.Action = f.Action, f.Policy, v1alpha1.ActionIgnore
			decision.Findings = append(decision.Findings, f)
		}
	}
	return decision
}

// scan reads an image once for all that run it alike.
func (c *check) scan(ctx context.Context, image policy.Image, scope policy.Scope) (*report.Report, *report.Failure) {
	words := slices.Concat(image.Run.Command, image.Run.Args)
	key := readKey{image.Reference, image.Architecture, strings.Join(words, "\x00"), scope}
	if known, ok := c.read[key]; ok {
		return known.Report, known.Failure
	}
	r, err := c.scanner.Scan(ctx, imagescan.Request{
		Reference: image.Reference, Platform: "linux/" + image.Architecture, Credentials: keychain{}, Hinted: !scope.AllImages, Words: words,
		AllBinaries: scope.AllBinaries,
	})
	var known policy.Image
	var classed *imagescan.Error
	switch {
	case err == nil:
		known.Report = &r
	case errors.As(err, &classed):
		known.Failure = &report.Failure{Class: classed.Class, Detail: err.Error()}
	default:
		known.Failure = &report.Failure{Class: report.FailureInternal, Detail: err.Error()}
	}
	c.read[key] = known
	return known.Report, known.Failure
}

// checkOutcome chooses the exit code: a rejection or legacy use before what
// could not be read.
func checkOutcome(all []checked) error {
	code := exitClean
	for _, c := range all {
		if c.decision.Action == v1alpha1.ActionReject {
			return exitError{code: exitLegacy}
		}
		for _, f := range c.decision.Findings {
			switch {
			case f.Rule == policy.RuleLegacy, f.Pods == v1alpha1.ActionReject:
				return exitError{code: exitLegacy}
			case f.Rule == policy.RuleScanError:
				code = exitFailed
			}
		}
	}
	if code == exitClean {
		return nil
	}
	return exitError{code: code}
}
