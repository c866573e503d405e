package report

import (
	"context"
	"errors"
)

// FailureClass says why an image could not be read, as far as a policy may
// care. Policies name these classes under onScanError.
type FailureClass string

// Classes of failures.
const (
	FailureTimeout      FailureClass = "timeout"      // the time allowed ran out
	FailureUnauthorized FailureClass = "unauthorized" // no credential was accepted
	FailureNotFound     FailureClass = "notFound"     // the registry has no such image
	FailureRateLimited  FailureClass = "rateLimited"  // the registry asked to come back later
	FailureTooLarge     FailureClass = "tooLarge"     // a limit of size or count was met
	FailureMalformed    FailureClass = "malformed"    // what came back breaks its format or digest
	FailureBlocked      FailureClass = "blocked"      // capvet itself refuses to connect there
	FailureRegistry     FailureClass = "registry"     // anything else between here and the registry
	FailureInternal     FailureClass = "internal"     // an error inside capvet; policies cannot name it
)

// FailureClasses returns every class that a policy can name, in the order of
// its schema.
func FailureClasses() []FailureClass {
	return []FailureClass{
		FailureTimeout, FailureUnauthorized, FailureNotFound, FailureRateLimited,
		FailureTooLarge, FailureMalformed, FailureBlocked, FailureRegistry,
	}
}

// Failure is an image that could not be read.
type Failure struct {
	Class FailureClass
	// Detail is for a person: one line, without secrets or URLs with queries.
	Detail string
}

// ClassOf returns the class of an error: that of its FailureClass method, or
// FailureTimeout for an exceeded deadline. It reports false, with FailureInternal, for
// any other.
func ClassOf(err error) (FailureClass, bool) {
	var classed interface{ FailureClass() FailureClass }
	switch {
	case errors.As(err, &classed):
		return classed.FailureClass(), true
	case errors.Is(err, context.DeadlineExceeded):
		return FailureTimeout, true
	}
	return FailureInternal, false
}

// Reasons of gaps that judgement depends on.
const (
	// GapNoPlatform: the image has no manifest for the platform, so nothing of
	// it can run there.
	GapNoPlatform = "no-such-platform"
	// GapNotRead: nothing hints at a known product, so the layers were not read.
	GapNotRead = "not-read"
)
