package imagescan

import (
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/report"
)

// maxPathBytes bounds the kept PATH of an image, whose first directories count.
const maxPathBytes = 64 << 10

// configuration is an image's configuration, reduced to the used fields.
type configuration struct {
	layers.Config
	platform v1.Platform
	// hinted means a hint at a known product in the command, the environment, the
	// labels or the build history.
	hinted  bool
	diffIDs []v1.Hash // of the layers, uncompressed
}

// parseConfiguration parses the configuration of an image with at most maxLayers
// layers. It searches the text for hints as it passes: nothing of the labels and
// the history is kept.
func parseConfiguration(raw []byte, maxLayers int, isHint func(string) bool) (*configuration, error) {
	c := &configuration{}
	look := func(texts ...string) {
		for _, text := range texts {
			c.hinted = c.hinted || isHint != nil && isHint(text)
		}
	}
	words := func(to *[]string) func(string) {
		return func(word string) {
			look(word)
			*to = append(*to, report.Shorten(word, maxTokenBytes+1)) // longer than any path, and than a report's copy
		}
	}
	err := decode("image configuration", raw, func(d *document) []field {
		var build, comment string
		return append(
			d.platform(&c.platform),
			field{"config", func() error {
				return d.object(
					d.token("User", &c.User), d.token("WorkingDir", &c.WorkingDir),
					d.texts("Entrypoint", words(&c.Entrypoint)), d.texts("Cmd", words(&c.Command)),
					d.texts("Env", func(variable string) {
						look(variable)
						if value, ok := strings.CutPrefix(variable, "PATH="); ok {
							c.Path = report.Shorten(value, maxPathBytes)
						}
					}),
					d.pairs("Labels", maxDocumentBytes, func(key, value string) { look(key, value) }),
				)
			}},
			field{"rootfs", func() error {
				return d.object(field{"diff_ids", func() error {
					return d.list(maxLayers, func() error {
						var id v1.Hash
						err := d.digest("", &id).read()
						c.diffIDs = append(c.diffIDs, id)
						return err
					})
				}})
			}},
			field{"history", func() error {
				return d.list(maxHistory, func() error {
					build, comment = "", ""
					err := d.object(d.long("created_by", &build), d.long("comment", &comment))
					look(build, comment)
					return err
				})
			}},
		)
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// long returns a field with a string of any length that a document can have.
func (d *document) long(name string, to *string) field {
	return field{name, func() (err error) {
		*to, err = d.text(maxDocumentBytes)
		return err
	}}
}

// bytes returns the approximate memory of the configuration, in bytes.
func (c *configuration) bytes() int64 {
	const perConfiguration, perWord = 512, 16
	n := int64(perConfiguration + len(c.User) + len(c.WorkingDir) + len(c.Path) + 88*len(c.diffIDs))
	for _, words := range [][]string{c.Entrypoint, c.Command} {
		for _, word := range words {
			n += int64(perWord + len(word))
		}
	}
	return n
}
