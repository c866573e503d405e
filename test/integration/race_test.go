//go:build integration && race

package integration

// raceEnabled reports whether the tests, and so the webhook under test, are built
// with the race detector.
const raceEnabled = true
