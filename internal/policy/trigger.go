package policy

import (
	"fmt"
	"path"
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

// process is an image as a container runs it, for all of its binaries: the parts of an
// assessment that do not depend on the binary are determined once.
type process struct {
	run      Run
	image    *report.Report
	programs map[wordsOf]string // by the origin of the words
	settings map[*product.Configuration]settled
}

// settled is the result of Run.settings.
type settled struct {
	settings *report.Settings
	known    bool
}

// wordsOf is the origin of words that a container runs.
type wordsOf int

const (
	wordsOfRun   wordsOf = iota // all of them
	wordsOfImage                // the image's command, which an entry point may start
)

func newProcess(run Run, image *report.Report) *process {
	return &process{run: run, image: image, programs: map[wordsOf]string{}, settings: map[*product.Configuration]settled{}}
}

// assess combines the conditions of the binary's product with this container's command,
// user and configuration, and with those of the image where the Pod is silent. Both the
// trigger and the advice come from the same case, so that they agree.
func (p *process) assess(b *report.Binary) assessment {
	r, image := p.run, p.image
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
	if by, named := p.names(b, c); !named {
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
	return p.conditioned(known, trigger, user, here)
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
func (p *process) conditioned(known product.Product, t product.Trigger, user User, here string) assessment {
	condition, other, otherUser := t.Root, t.NonRoot, UserNonRoot
	if user == UserNonRoot {
		condition, other, otherUser = t.NonRoot, t.Root, UserRoot
	}
	settings, read := p.settingsOf(known.Configuration)
	met, certain := condition.Met(settings)
	as := fmt.Sprintf("runs as %s %s", user, here)
	runs, call := known.Title+" "+as, "makes this call at every start"
	var why string
	switch {
	case condition.Never:
		why = fmt.Sprintf("%s makes this call only as %s, with %s; it %s.", known.Title, otherUser, other.Text, as)
	case certain && read:
		if !met {
			call = "does not make this call"
		}
		why = fmt.Sprintf("%s, and %s of %s %s, so it %s.", runs, known.Configuration.Section, shortened(settings.Path),
			known.Configuration.Describe(*settings), call)
	case certain:
		why = fmt.Sprintf("%s and %s.", runs, call)
	case met:
		why = fmt.Sprintf("%s and %s, unless %s.", runs, call, condition.Text)
	default:
		why = fmt.Sprintf("%s and makes this call only with %s.", runs, condition.Text)
	}
	switch {
	case met:
		return assessment{&report.Trigger{When: report.WhenStart, Why: why}, known.Advice.AtStart(condition)}
	case certain:
		return assessment{&report.Trigger{When: report.WhenConditional, Why: why}, known.Advice.Dormant}
	}
	return assessment{&report.Trigger{When: report.WhenConditional, Why: why}, known.Advice.Conditional}
}

func productOf(b *report.Binary) string {
	if b.Product == nil {
		return ""
	}
	return b.Product.Name
}

// settingsOf returns Run.settings.
func (p *process) settingsOf(c *product.Configuration) (*report.Settings, bool) {
	found, done := p.settings[c]
	if !done {
		found.settings, found.known = p.run.settings(c, p.image)
		p.settings[c] = found
	}
	return found.settings, found.known
}

// names reports whether the words that the container runs name the binary, as a word or
// within a script. If not, by is their origin, with a verb to negate. Unknown words may
// name it.
func (p *process) names(b *report.Binary, image *report.Configuration) (by string, named bool) {
	r := p.run
	switch {
	case r.Command != nil:
		return "The container's command (" + first(r.Command) + ") does", p.starts(b, wordsOfRun, r.Command)
	case image == nil || len(image.Entrypoint)+len(image.Command) == 0:
		return "", true
	case len(r.Args) == 0:
		return "The image's entry point (" + first(image.Entrypoint, image.Command) + ") does",
			p.starts(b, wordsOfRun, image.Entrypoint, image.Command)
	}
	// An entry point with options alone passes them to the program of its own choice.
	options := strings.HasPrefix(r.Args[0], "-") && len(image.Entrypoint) > 0
	return "The image's entry point and the container's arguments (" + first(image.Entrypoint, r.Args) + ") do",
		p.starts(b, wordsOfRun, image.Entrypoint, r.Args) || options && p.starts(b, wordsOfImage, image.Command)
}

// maxWord bounds a word within an explanation in bytes: there is one for each binary.
const maxWord = 256

// first returns the first word of lists, cut to maxWord.
func first(lists ...[]string) string {
	for _, words := range lists {
		if len(words) > 0 {
			return shortened(words[0])
		}
	}
	return ""
}

func shortened(word string) string {
	if len(word) <= maxWord {
		return word
	}
	return strings.ToValidUTF8(word[:maxWord], "") + "…"
}

// starts reports whether a word, or a word of a script, names the binary or its product. The
// words of one origin are always the same.
func (p *process) starts(b *report.Binary, origin wordsOf, words ...[]string) bool {
	all, done := p.programs[origin]
	if !done {
		all = programs(words...)
		p.programs[origin] = all
	}
	known := productOf(b)
	return strings.Contains(all, path.Base(b.Path)) || known != "" && strings.Contains(all, known)
}

// programs returns the names in words, and in words of scripts, that can be programs: all but
// those of configuration files. Each ends with a slash, which no name contains.
func programs(words ...[]string) string {
	var all strings.Builder
	for _, some := range words {
		for _, word := range some {
			for part := range strings.FieldsFuncSeq(word, product.SeparatesWords) {
				if name := path.Base(part); path.Ext(name) != ".cfg" && path.Ext(name) != ".conf" {
					all.WriteString(name)
					all.WriteByte('/')
				}
			}
		}
	}
	return all.String()
}
