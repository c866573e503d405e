// Package report holds the facts about an image or a file, as plain values with a versioned JSON
// form. It is the only interface between the rooms that read images and those that judge them.
//
// It is not for judging, and knows no policy, Pod or cluster. A Report is trusted to be well
// formed only if this program made it.
package report

// SchemaVersion is the version of the JSON form. Within one version fields may
// be added, but none is renamed or given another meaning.
const SchemaVersion = 1

// Report holds the facts about one image for one platform, or about one file.
type Report struct {
	// SchemaVersion is always SchemaVersion in a report made by this program.
	SchemaVersion int `json:"schemaVersion"`
	// Image is the resolved reference, registry/repository@sha256:..., of the platform's own
	// manifest. Empty for a file on disk.
	Image string `json:"image,omitempty"`
	// Reference is the reference as requested. Empty for a file on disk.
	Reference string `json:"reference,omitempty"`
	// Platform is os/arch[/variant], for example linux/arm64. Empty for a file
	// on disk.
	Platform string `json:"platform,omitempty"`
	// Configuration is the image's configuration; nil if it was not read, and for a file on disk.
	Configuration *Configuration `json:"configuration,omitempty"`
	// Settings are those of the configuration files that the image's entry point or command
	// names, as far as they could be read.
	Settings []Settings `json:"settings,omitempty"`
	// Binaries are the inspected executables, sorted by path. Never nil in a report made by New.
	Binaries []Binary `json:"binaries"`
	// Complete reports whether everything that could change the verdict was read. An incomplete
	// report may hold a verdict of v1, but does not prove an image clean.
	Complete bool `json:"complete"`
	// ThroughTable are the digests of the layers, the lowest first, that were read through their
	// table of contents: the inspected files were verified, the agreement of the rest of the layer
	// with its table was not. All other layers were read in full, and have their digest.
	ThroughTable []string `json:"throughTable,omitempty"`
	// Gaps are the unread parts. Never nil in a report made by New.
	Gaps []Gap `json:"gaps"`
}

// New returns an empty, complete report of the current schema version.
func New() Report {
	return Report{SchemaVersion: SchemaVersion, Binaries: []Binary{}, Complete: true, Gaps: []Gap{}}
}

// Worst returns the worst ABI of the report's binaries, ABINone without any.
func (r Report) Worst() ABI {
	worst := ABINone
	for _, b := range r.Binaries {
		worst = WorseABI(worst, b.Capset.ABI)
	}
	return worst
}

// Configuration holds an image's defaults for its processes, which a Pod can override.
type Configuration struct {
	// User is the user, by name or number, with or without a group; empty: root.
	User string `json:"user,omitempty"`
	// UID is the number of User in the image's own /etc/passwd. Absent if User is a number, or a
	// name that is not in that file.
	UID *int64 `json:"uid,omitempty"`
	// Entrypoint and Command are ENTRYPOINT and CMD, cut short beyond any real length.
	Entrypoint []string `json:"entrypoint,omitempty"`
	Command    []string `json:"command,omitempty"`
}

// Settings are the directives of a configuration file that decide when a program's calls run.
type Settings struct {
	// Path is the file as the command names it, absolute and clean. File is its path with
	// symbolic links resolved; empty if it is the same.
	Path string `json:"path"`
	File string `json:"file,omitempty"`
	// User: the program changes its user to one other than root (user or uid in the global section
	// of HAProxy).
	User bool `json:"user"`
	// SetCap: it keeps capabilities then (setcap in that section).
	SetCap bool `json:"setcap"`
}

// Gap is a part that could not be read.
type Gap struct {
	// Where names the part: a path, a layer digest, a section.
	Where string `json:"where"`
	// Reason is a terse, stable token such as "malformed", "too-large" or "not-read".
	Reason string `json:"reason"`
	// Detail is for people.
	Detail string `json:"detail,omitempty"`
	// Other: the gap matters only to requests for all executables; the facts about proxies are
	// complete without it.
	Other bool `json:"other,omitempty"`
}

// Binary holds the facts about one executable.
type Binary struct {
	// Path is absolute and slash-separated within an image, with symbolic links of its parents
	// resolved; as given for a file on disk.
	Path string `json:"path"`
	// SHA256 is the lower-case hexadecimal digest of the whole file.
	SHA256 string `json:"sha256"`
	// Size is in bytes.
	Size int64 `json:"size"`
	// Layer is the digest (sha256:...) of the compressed layer with the file. Empty for a file on
	// disk.
	Layer string `json:"layer,omitempty"`
	// Machine is the Go GOARCH name of the ELF machine ("arm64", "amd64", ...), or "unknown".
	Machine string `json:"machine"`
	// Libc is the C library that the file was linked with.
	Libc Libc `json:"libc"`
	// Linkage is dynamic if the file requests a dynamic loader.
	Linkage Linkage `json:"linkage"`
	// PIE reports whether the executable is position independent.
	PIE bool `json:"pie"`
	// Stripped reports whether the file has no .symtab.
	Stripped bool `json:"stripped"`
	// FileCapabilities are those of the file itself in an image (the extended attribute
	// security.capability), in the form of cap_to_text(3). Empty for a file on disk.
	FileCapabilities string `json:"fileCapabilities,omitempty"`
	// BuildID is the GNU build ID in lower-case hexadecimal, if there is one.
	BuildID string `json:"buildID,omitempty"`
	// Other: the file is no known product, nor named like one, nor run by the image itself. It is
	// reported only on request for all executables.
	Other bool `json:"other,omitempty"`
	// Product is the known product, if the file is one.
	Product *Product `json:"product,omitempty"`
	// Capset is the verdict on capability system calls.
	Capset Capset `json:"capset"`
	// Trigger describes when the calls run, whatever the Pod. Nil without known calls of a known
	// product.
	Trigger *Trigger `json:"trigger,omitempty"`
	// Advice is a few sentences for the person in charge, whatever the Pod.
	Advice string `json:"advice,omitempty"`
}

// Product is a known program.
type Product struct {
	// Name is the lower-case name, for example "haproxy".
	Name string `json:"name"`
	// Version is the version as the binary itself spells it; empty if not found.
	Version string `json:"version,omitempty"`
	// Basis is the origin of name and version: "symbol" or "string".
	Basis string `json:"basis"`
}

// Capset is the verdict on the capability system calls of one executable.
type Capset struct {
	// ABI is the worst of all calls.
	ABI   ABI   `json:"abi"`
	Basis Basis `json:"basis"`
	// Reason explains the verdict in a few words where ABI and Calls alone do not: an unknown, a
	// build without the feature, a disagreement of code and version.
	Reason string `json:"reason,omitempty"`
	// Calls are the call sites, in address order, of each system call the worst ones if there are
	// too many. Never nil in a report made by this program.
	Calls []Call `json:"calls"`
	// CallsTotal is the number of call sites if Calls does not list all of them.
	CallsTotal int `json:"callsTotal,omitempty"`
	// Libraries are those through which the file makes its capability calls, in the order of its
	// requests; only if ABI comes from them.
	Libraries []Library `json:"libraries,omitempty"`
}

// Library is a library of capability calls that a file requests.
type Library struct {
	// Name is the requested name, for example "libcap.so.2".
	Name string `json:"name"`
	// Path is the path of the library; empty if it was not found.
	Path string `json:"path,omitempty"`
	// ABI is the library's own verdict; empty if it was not found.
	ABI ABI `json:"abi,omitempty"`
}

// Call is one capability call site.
type Call struct {
	// Syscall is "capget" or "capset".
	Syscall string `json:"syscall"`
	// ABI is the header version that this call passes: v1, v2, v3, negotiated, library or unknown.
	ABI ABI `json:"abi"`
	// Function is the name of the enclosing function; empty if no symbol covers it.
	Function string `json:"function,omitempty"`
	// Address is the virtual address of the call instruction, 0x-prefixed hexadecimal.
	Address string `json:"address"`
	// Via is the way into the kernel: "syscall" (libc's syscall function), "capget"/"capset"
	// (libc's wrappers), "inline" (an instruction that enters the kernel), "libcap" or "libcap-ng".
	Via string `json:"via"`
	// Header is the place of the header version ("stack", "data cap_hdr_haproxy"), or the reason
	// for which it is unknown.
	Header string `json:"header,omitempty"`
}

// Trigger describes when the calls of a binary run.
type Trigger struct {
	When When `json:"when"`
	// Why is one sentence.
	Why string `json:"why"`
}
