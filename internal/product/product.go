// Package product holds what is known of the programs that capvet looks for.
package product

// IsExecutable reports whether base, the last element of a path, is the file
// name of a known product's executable.
func IsExecutable(base string) bool { return base == "haproxy" || base == "nginx" }
