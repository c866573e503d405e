// Package report holds the facts that capvet finds about an image or a file:
// plain values with a versioned JSON form. It is the only currency between the
// half that reads (elfcaps, imagefs, imagescan) and the half that judges
// (policy, admission).
//
// It is not for judging: nothing here knows of policies, Pods or clusters. A
// Report is trusted to be well formed only when this program made it.
package report

// SchemaVersion is the version of the JSON form. Within one version fields may
// be added, but none is renamed or given another meaning.
const SchemaVersion = 1

// Report is what was found in one image for one platform, or in one file.
type Report struct {
	// SchemaVersion is always SchemaVersion in a report made by this program.
	SchemaVersion int `json:"schemaVersion"`
	// Image is the resolved reference, registry/repository@sha256:..., of the
	// platform's own manifest. Empty for a file on disk.
	Image string `json:"image,omitempty"`
	// Reference is the reference as it was asked for. Empty for a file on disk.
	Reference string `json:"reference,omitempty"`
	// Platform is os/arch[/variant], for example linux/arm64. Empty for a file
	// on disk.
	Platform string `json:"platform,omitempty"`
	// Configuration is what the image says of how it is run; nil where it was not
	// read, and for a file on disk.
	Configuration *Configuration `json:"configuration,omitempty"`
	// Settings are what configuration files of the image say that its entry point
	// or command names, as far as they could be read.
	Settings []Settings `json:"settings,omitempty"`
	// Binaries are the executables that were judged, sorted by path. Never nil
	// in a report made by New.
	Binaries []Binary `json:"binaries"`
	// Complete says that everything that could change the verdict was read. A
	// verdict of v1 may stand in an incomplete report; a clean one may not.
	Complete bool `json:"complete"`
	// ThroughTable are the digests of the layers, the lowest first, that were read
	// through their table of contents: of those the files that were judged were
	// verified, but not that the rest of the layer agrees with its table. Empty:
	// every layer was read in full, and has its digest.
	ThroughTable []string `json:"throughTable,omitempty"`
	// Gaps name what could not be seen, and why. Never nil in a report made by
	// New.
	Gaps []Gap `json:"gaps"`
}

// New returns an empty, complete report of the current schema version.
func New() Report {
	return Report{SchemaVersion: SchemaVersion, Binaries: []Binary{}, Complete: true, Gaps: []Gap{}}
}

// Worst returns the worst ABI of the report's binaries, ABINone if there are
// none.
func (r Report) Worst() ABI {
	worst := ABINone
	for _, b := range r.Binaries {
		worst = WorseABI(worst, b.Capset.ABI)
	}
	return worst
}

// Configuration is what an image says of how it is run, where a Pod does not say
// otherwise.
type Configuration struct {
	// User is the user, by name or number, with or without a group; empty: root.
	User string `json:"user,omitempty"`
	// UID is the number that User comes to in the image's own /etc/passwd. Absent
	// where User is a number, and where it is a name that is not found there.
	UID *int64 `json:"uid,omitempty"`
	// Entrypoint and Command are ENTRYPOINT and CMD. What is longer than any real
	// one is cut short.
	Entrypoint []string `json:"entrypoint,omitempty"`
	Command    []string `json:"command,omitempty"`
}

// Settings is what a configuration file says that decides when a program's calls
// run.
type Settings struct {
	// Path is the file as the image's command names it, absolute and clean. File
	// is where symbolic links lead to from there; empty if it is the same.
	Path string `json:"path"`
	File string `json:"file,omitempty"`
	// User says that the program changes its user to one other than root: user or
	// uid in the global section of HAProxy's.
	User bool `json:"user"`
	// SetCap says that it keeps capabilities then: setcap in that section.
	SetCap bool `json:"setcap"`
}

// Gap is one thing that could not be seen.
type Gap struct {
	// Where names the thing: a path, a layer digest, a section.
	Where string `json:"where"`
	// Reason is a terse, stable token such as "malformed", "too-large" or
	// "not-read".
	Reason string `json:"reason"`
	// Detail is for a person.
	Detail string `json:"detail,omitempty"`
	// Other says that it matters only to who asked for all executables: what is
	// known of proxies is whole without it.
	Other bool `json:"other,omitempty"`
}

// Binary is what was found about one executable.
type Binary struct {
	// Path is absolute and slash-separated within an image, with symbolic links
	// of its parents resolved; as given for a file on disk.
	Path string `json:"path"`
	// SHA256 is the lower-case hexadecimal digest of the whole file.
	SHA256 string `json:"sha256"`
	// Size is in bytes.
	Size int64 `json:"size"`
	// Layer is the digest (sha256:...) of the compressed layer that the file
	// came from. Empty for a file on disk.
	Layer string `json:"layer,omitempty"`
	// Machine is the Go GOARCH name of the ELF machine ("arm64", "amd64", ...),
	// or "unknown".
	Machine string `json:"machine"`
	// Libc is the C library the file was linked with.
	Libc Libc `json:"libc"`
	// Linkage says whether the file asks for a dynamic loader.
	Linkage Linkage `json:"linkage"`
	// PIE says that the executable is position independent.
	PIE bool `json:"pie"`
	// Stripped says that the file has no .symtab.
	Stripped bool `json:"stripped"`
	// FileCapabilities are those that the file itself brings in an image (the
	// extended attribute security.capability), as cap_to_text(3) writes them.
	// Empty: it has none, or it is a file on disk.
	FileCapabilities string `json:"fileCapabilities,omitempty"`
	// BuildID is the GNU build ID in lower-case hexadecimal, if there is one.
	BuildID string `json:"buildID,omitempty"`
	// Other says that it is no known product, nor named like one, nor run by the
	// image itself: it is reported to who asked for all executables.
	Other bool `json:"other,omitempty"`
	// Product is the known product, nil when the file is none.
	Product *Product `json:"product,omitempty"`
	// Capset is the verdict on capability system calls.
	Capset Capset `json:"capset"`
	// Trigger says when the calls run. Nil when there is nothing to trigger.
	Trigger *Trigger `json:"trigger,omitempty"`
	// Advice is one or two plain sentences for the person in charge.
	Advice string `json:"advice,omitempty"`
}

// Product is a known program.
type Product struct {
	// Name is the lower-case name, for example "haproxy".
	Name string `json:"name"`
	// Version is the version as the binary itself spells it; empty if not found.
	Version string `json:"version,omitempty"`
	// Basis says where the name and version were read: "symbol" or "string".
	Basis string `json:"basis"`
}

// Capset is the verdict on the capability system calls of one executable.
type Capset struct {
	// ABI is the worst of all calls.
	ABI ABI `json:"abi"`
	// Basis is what the verdict rests on.
	Basis Basis `json:"basis"`
	// Reason says why, in a few words, wherever ABI and Calls alone do not: an
	// unknown, a build without the feature, a disagreement of code and version.
	Reason string `json:"reason,omitempty"`
	// Calls are the call sites, in address order. Never nil in a report made
	// by this program.
	Calls []Call `json:"calls"`
	// Libraries are those that the file makes its capability calls through, in
	// the order in which it asks for them; only where ABI comes from them.
	Libraries []Library `json:"libraries,omitempty"`
}

// Library is a library of capability calls, as a file asks for it.
type Library struct {
	// Name is what the file asks for, for example "libcap.so.2".
	Name string `json:"name"`
	// Path is where it lay; empty when it was not at hand.
	Path string `json:"path,omitempty"`
	// ABI is the library's own verdict; empty when it was not at hand.
	ABI ABI `json:"abi,omitempty"`
}

// Call is one capability call site.
type Call struct {
	// Syscall is "capget" or "capset".
	Syscall string `json:"syscall"`
	// ABI is the header version that this call passes: v1, v2, v3, negotiated,
	// library or unknown.
	ABI ABI `json:"abi"`
	// Function is the name of the enclosing function; empty when no symbol
	// covers it.
	Function string `json:"function,omitempty"`
	// Address is the virtual address of the call instruction, 0x-prefixed
	// hexadecimal.
	Address string `json:"address"`
	// Via is how the kernel is reached: "syscall" (libc's syscall function),
	// "capget"/"capset" (libc's wrappers), "inline" (an instruction that enters
	// the kernel), "libcap" or "libcap-ng".
	Via string `json:"via"`
	// Header says where the version was read ("stack", "data cap_hdr_haproxy"),
	// or for an unknown why it was not.
	Header string `json:"header,omitempty"`
}

// Trigger says when the calls of a binary run.
type Trigger struct {
	When When `json:"when"`
	// Why is one sentence.
	Why string `json:"why"`
}
