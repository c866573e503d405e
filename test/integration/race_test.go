//go:build integration && race

package integration

// raceEnabled says that the webhook under test is built like the tests.
const raceEnabled = true
