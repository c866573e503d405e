package report

import (
	"context"
	"errors"
)

// FailureClass is the class of an error in reading an image. Policies name these classes under
// onScanError.
type FailureClass string

// Classes of failures.
const (
	FailureTimeout      FailureClass = "timeout"      // the time allowed ran out
	FailureUnauthorized FailureClass = "unauthorized" // no credential was accepted
	FailureNotFound     FailureClass = "notFound"     // the registry has no such image
	FailureRateLimited  FailureClass = "rateLimited"  // the registry limits requests
	FailureTooLarge     FailureClass = "tooLarge"     // a limit of size or count was met
	FailureMalformed    FailureClass = "malformed"    // the content violates its format or digest
	FailureBlocked      FailureClass = "blocked"      // capvet itself refuses to connect there
	FailureRegistry     FailureClass = "registry"     // any other error of the registry or the network
	FailureInternal     FailureClass = "internal"     // an error inside capvet; policies cannot name it
)

// FailureClasses returns every class that a policy can name, in the order of its schema.
func FailureClasses() []FailureClass {
	return []FailureClass{
		FailureTimeout, FailureUnauthorized, FailureNotFound, FailureRateLimited,
		FailureTooLarge, FailureMalformed, FailureBlocked, FailureRegistry,
	}
}

// Failure is an image that could not be read.
type Failure struct {
	Class FailureClass
	// Detail is one line for people, without secrets or URLs with queries.
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
	// GapNoPlatform: the image has no manifest for the platform, so that it cannot run there.
	GapNoPlatform = "no-such-platform"
	// GapNotRead: the layers were not read, for want of a hint at a known product.
	GapNotRead = "not-read"
)
