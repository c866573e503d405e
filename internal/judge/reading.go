package judge

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
)

const (
	// MaxImages bounds the images of one subject, counted once for each way that
	// containers run them.
	MaxImages = 256
	// maxConcurrentReads bounds the images of one subject that are read at a time.
	maxConcurrentReads = 8
)

// Wanted is one image to read.
type Wanted struct {
	// Reference is the image as the Pod writes it.
	Reference string
	// Platform is os/arch.
	Platform string
	Scope    policy.Scope
	// Words are the commands and arguments of all containers with this image.
	Words []string
}

// reading is one image to read, for all containers that run it.
type reading struct {
	wanted  Wanted
	images  []int // indices of the images that share it
	report  *report.Report
	failure *report.Failure
}

// bounded returns at most MaxImages of images. The last one stands for those left out: it
// counts as too large to be read. Its name is empty, so that no exemption of other images is
// one of theirs.
func bounded(images []policy.Image) []policy.Image {
	if len(images) <= MaxImages {
		return images
	}
	bounded := slices.Clone(images[:MaxImages])
	left := &bounded[MaxImages-1]
	left.Name = ""
	left.Failure = &report.Failure{
		Class: report.FailureTooLarge, Detail: fmt.Sprintf("more than %d images, or ways to run one, in one object", MaxImages-1)}
	return bounded
}

// readImages reads the images that some policy can act on, each once, and sets the
// report or failure of each.
func readImages(now time.Time, policies []policy.Policy, images []policy.Image, read func(Wanted) (report.Report, error)) {
	readings := readingsOf(now, policies, images)
	var next atomic.Int64
	work := func() {
		for i := next.Add(1) - 1; i < int64(len(readings)); i = next.Add(1) - 1 {
			reading := &readings[i]
			if r, err := read(reading.wanted); err != nil {
				class, _ := report.ClassOf(err)
				reading.failure = &report.Failure{Class: class, Detail: err.Error()}
			} else {
				reading.report = &r
			}
		}
	}
	var workers sync.WaitGroup
	for range min(len(readings), maxConcurrentReads) - 1 { // a single image needs no goroutine
		workers.Go(work)
	}
	work()
	workers.Wait()
	for _, reading := range readings {
		for _, i := range reading.images {
			images[i].Report, images[i].Failure = reading.report, reading.failure
		}
	}
}

// readingsOf groups the images to read by reference and architecture.
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
