package admission

import (
	"fmt"
	"time"

	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
)

// maxImages is how many images, each in each way that containers run it, are looked
// at for one request.
const maxImages = 256

// reading is one image to read, for all containers that run it: in whatever way
// they do, one reading of it will do.
type reading struct {
	wanted  Wanted
	images  []int // which of the images it is of
	report  *report.Report
	failure *report.Failure
}

// bounded returns at most maxImages of images. Of those left out the last one that
// is returned stands for all: it counts as too large to be read.
func bounded(images []policy.Image) []policy.Image {
	if len(images) <= maxImages {
		return images
	}
	images = images[:maxImages:maxImages]
	images[maxImages-1].Failure = &report.Failure{Class: report.FailureTooLarge, Detail: fmt.Sprintf("more than %d images, or ways to run one, in one object", maxImages-1)}
	return images
}

// readingsOf returns what is to be read of images: what some policy wants to know
// about, once.
func readingsOf(now time.Time, policies []policy.Policy, images []policy.Image) []reading {
	type key struct{ reference, architecture string }
	known := make(map[key]int, len(images))
	var readings []reading
	for i := range images {
		image := &images[i]
		scope, wanted := policy.Wanted(now, policies, *image)
		if !wanted || image.Failure != nil {
			continue
		}
		k := key{image.Reference, image.Architecture}
		at, ok := known[k]
		if !ok {
			at = len(readings)
			known[k] = at
			readings = append(readings, reading{wanted: Wanted{Reference: image.Reference, Platform: "linux/" + image.Architecture, Scope: scope}})
		}
		r := &readings[at]
		r.images = append(r.images, i)
		r.wanted.Words = append(append(r.wanted.Words, image.Run.Command...), image.Run.Args...)
	}
	return readings
}
