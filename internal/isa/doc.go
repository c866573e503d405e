// Package isa turns machine code of arm64 and amd64 into micro-operations, so that
// one interpreter serves both, and holds every other fact about the two
// architectures in one record, Machine.
//
// Only operations that build, move or store a constant or an address are modelled,
// besides calls and jumps. Any other instruction makes its results unknown.
//
// The code is not trusted: the decoders read within the slice that they get,
// allocate nothing and share no state.
package isa
