// Package inflate decompresses gzip streams (RFC 1952 over RFC 1951), the usual
// form of image layers, faster than compress/gzip and klauspost/compress:
// decompression dominates the time to read an image.
//
// It does not compress, does not read zlib's framing, and discards the names,
// times and comments of a stream. It accepts the streams that compress/gzip
// accepts, which a fuzz target checks.
//
// Streams are hostile. A Reader's memory is constant (about 290 KiB), every index
// is bounded, and the package has no unsafe code.
package inflate
