// Package absint interprets one function at a time over abstract values.
package absint
