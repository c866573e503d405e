package policy

import (
	"fmt"
	"path"

	"github.com/capvet/capvet/internal/product"
	"github.com/capvet/capvet/internal/report"
)

// assessment is when the calls of a binary run in one Pod, and the advice for that
// situation.
type assessment struct {
	trigger *report.Trigger // nil if there is nothing to trigger
	advice  []string
}

// assessor assesses the binaries of one image as one container runs it, each once for all
// policies. It keeps what they share, since a Pod may have many words and an image many binaries.
type assessor struct {
	run   Run
	image *report.Report // or nil

	assessed map[*report.Binary]assessment
	line     *commandLine                // nil before the first use
	settings map[string]*report.Settings // by product; nil if they are unknown
}

func (r Run) assessor(image *report.Report) *assessor { return &assessor{run: r, image: image} }

// assess combines the conditions of the binary's product with this container's command,
// user and configuration, and with those of the image where the Pod is silent. Both the
// trigger and the advice come from the same case, so that they agree.
func (a *assessor) assess(b *report.Binary) assessment {
	known, ok := a.assessed[b]
	if !ok {
		if a.assessed == nil {
			a.assessed = map[*report.Binary]assessment{}
		}
		known = a.assessment(b)
		a.assessed[b] = known
	}
	return known
}

func (a *assessor) assessment(b *report.Binary) assessment {
	known, isKnown := product.Lookup(productOf(b))
	advice := product.Other()
	if isKnown {
		advice = known.Advice
	}
	var c *report.Configuration
	if a.image != nil {
		c = a.image.Configuration
	}
	switch {
	case b.Trigger == nil:
		return assessment{nil, ofABI(b, advice, advice.Unstarted)}
	case !isKnown:
		known.Title = path.Base(b.Path)
	}
	if a.line == nil {
		a.line = a.run.line(c)
	}
	if line := a.line; !line.starts(b) {
		why := fmt.Sprintf("%s not name %s, so it is unknown whether this Pod starts it.", line.origin, known.Title)
		return assessment{&report.Trigger{When: report.WhenUnknown, Why: why}, ofABI(b, advice, advice.Unstarted)}
	}
	trigger, hasConditions := known.TriggerAt(b.Trigger.When)
	user, here := a.run.User, "here"
	if user == UserOfImage && c != nil {
		user, here = userOf(c), "here (the image's user)"
	}
	if !hasConditions || !b.Capset.ABI.Legacy() || user == UserOfImage {
		return assessment{b.Trigger, ofABI(b, advice, advice.Own(trigger))}
	}
	return conditioned(known, trigger, user, here, a.settingsOf(known))
}

// settingsOf returns the settings of a product's process, nil if they are unknown.
func (a *assessor) settingsOf(p product.Product) *report.Settings {
	settings, asked := a.settings[p.Name]
	if !asked {
		if a.settings == nil {
			a.settings = map[string]*report.Settings{}
		}
		settings, _ = a.run.settings(p.Configuration, a.image)
		a.settings[p.Name] = settings
	}
	return settings
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
// user and these settings, nil if they are unknown. here completes "runs as root".
func conditioned(p product.Product, t product.Trigger, user User, here string, settings *report.Settings) assessment {
	condition, other, otherUser := t.Root, t.NonRoot, UserNonRoot
	if user == UserNonRoot {
		condition, other, otherUser = t.NonRoot, t.Root, UserRoot
	}
	met, certain := condition.Met(settings)
	as := fmt.Sprintf("runs as %s %s", user, here)
	runs, call := p.Title+" "+as, "makes this call at every start"
	var why string
	switch {
	case condition.Never:
		why = fmt.Sprintf("%s makes this call only as %s, with %s; it %s.", p.Title, otherUser, other.Text, as)
	case certain && settings != nil:
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
