// Package inflate unpacks gzip streams (RFC 1952 over RFC 1951), as layers of
// images are packed with, faster than the libraries do: inflating is most of
// what reading an image takes.
//
// It is not for compressing, not for zlib's framing, and it keeps no names,
// times or comments of a stream. What it accepts is what compress/gzip accepts,
// which a fuzz target holds.
//
// The stream is taken to be hostile. A Reader's memory does not depend on it
// (about 290 KiB), nothing is indexed without a bound, and the package has no
// unsafe code.
package inflate
