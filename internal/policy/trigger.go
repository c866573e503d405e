package policy

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/capvet/capvet/internal/product"
	"github.com/capvet/capvet/internal/report"
)

// assessment is when the calls of a binary run in one Pod, and the advice for that
// situation.
type assessment struct {
	trigger *report.Trigger // nil if there is nothing to trigger
	advice  []string
}

// assess combines the conditions of the binary's product with this container's command,
// user and configuration, and with those of the image where the Pod is silent. Both the
// trigger and the advice come from the same case, so that they agree.
func (r Run) assess(b *report.Binary, image *report.Report) assessment {
	known, isKnown := product.Lookup(productOf(b))
	advice := product.Other()
	if isKnown {
		advice = known.Advice
	}
	var c *report.Configuration
	if image != nil {
		c = image.Configuration
	}
	switch {
	case b.Trigger == nil:
		return assessment{nil, ofABI(b, advice, advice.Unstarted)}
	case !isKnown:
		known.Title = path.Base(b.Path)
	}
	if by, named := r.names(b, c); !named {
		why := fmt.Sprintf("%s not name %s, so it is unknown whether this Pod starts it.", by, known.Title)
		return assessment{&report.Trigger{When: report.WhenUnknown, Why: why}, ofABI(b, advice, advice.Unstarted)}
	}
	trigger, hasConditions := known.TriggerAt(b.Trigger.When)
	user, here := r.User, "here"
	if user == UserOfImage && c != nil {
		user, here = userOf(c), "here (the image's user)"
	}
	if !hasConditions || !b.Capset.ABI.Legacy() || user == UserOfImage {
		return assessment{b.Trigger, ofABI(b, advice, advice.Own(trigger))}
	}
	return r.conditioned(known, trigger, user, here, image)
}

// ofABI returns the advice for an unknown ABI where the binary's is, otherwise that for
// legacy calls.
func ofABI(b *report.Binary, advice product.Advice, legacy []string) []string {
	if b.Capset.ABI.Legacy() {
		return legacy
	}
	return advice.UnknownABI
}

// conditioned assesses legacy calls whose conditions are known, for a process of a known
// user. here completes "runs as root".
func (r Run) conditioned(p product.Product, t product.Trigger, user User, here string, image *report.Report) assessment {
	condition, other, otherUser := t.Root, t.NonRoot, UserNonRoot
	if user == UserNonRoot {
		condition, other, otherUser = t.NonRoot, t.Root, UserRoot
	}
	settings, read := r.settings(p.Configuration, image)
	met, certain := condition.Met(settings)
	as := fmt.Sprintf("runs as %s %s", user, here)
	runs, call := p.Title+" "+as, "makes this call at every start"
	var why string
	switch {
	case condition.Never:
		why = fmt.Sprintf("%s makes this call only as %s, with %s; it %s.", p.Title, otherUser, other.Text, as)
	case certain && read:
		if !met {
			call = "does not make this call"
		}
		why = fmt.Sprintf("%s, and %s of %s %s, so it %s.", runs, p.Configuration.Section, settings.Path,
			p.Configuration.Describe(*settings), call)
	case certain:
		why = fmt.Sprintf("%s and %s.", runs, call)
	case met:
		why = fmt.Sprintf("%s and %s, unless %s.", runs, call, condition.Text)
	default:
		why = fmt.Sprintf("%s and makes this call only with %s.", runs, condition.Text)
	}
	switch {
	case met:
		return assessment{&report.Trigger{When: report.WhenStart, Why: why}, p.Advice.AtStart(condition)}
	case certain:
		return assessment{&report.Trigger{When: report.WhenConditional, Why: why}, p.Advice.Dormant}
	}
	return assessment{&report.Trigger{When: report.WhenConditional, Why: why}, p.Advice.Conditional}
}

func productOf(b *report.Binary) string {
	if b.Product == nil {
		return ""
	}
	return b.Product.Name
}

// names reports whether the words that the container runs name the binary, as a word or
// within a script. If not, by is their origin, with a verb to negate. Unknown words may
// name it.
func (r Run) names(b *report.Binary, image *report.Configuration) (by string, named bool) {
	switch {
	case r.Command != nil:
		return "The container's command (" + r.Command[0] + ") does", starts(b, r.Command)
	case image == nil || len(image.Entrypoint)+len(image.Command) == 0:
		return "", true
	case len(r.Args) == 0:
		words := slices.Concat(image.Entrypoint, image.Command)
		return "The image's entry point (" + words[0] + ") does", starts(b, words)
	}
	words := slices.Concat(image.Entrypoint, r.Args)
	// An entry point with options alone passes them to the program of its own choice.
	options := strings.HasPrefix(r.Args[0], "-") && len(image.Entrypoint) > 0
	return "The image's entry point and the container's arguments (" + words[0] + ") do",
		starts(b, words) || options && starts(b, image.Command)
}

// starts reports whether a word, or a word of a script, names the binary or its product.
// The name of a configuration file does not.
func starts(b *report.Binary, words []string) bool {
	known, own := productOf(b), path.Base(b.Path)
	return slices.ContainsFunc(words, func(word string) bool {
		return slices.ContainsFunc(strings.FieldsFunc(word, product.SeparatesWords), func(part string) bool {
			name := path.Base(part)
			return path.Ext(name) != ".cfg" && path.Ext(name) != ".conf" &&
				(strings.Contains(name, own) || known != "" && strings.Contains(name, known))
		})
	})
}
