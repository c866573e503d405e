package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestEqualsDockerfile: the configuration equals that of the Dockerfile's last
// stage.
func TestEqualsDockerfile(t *testing.T) {
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, last, ok := strings.Cut(string(text), "\nFROM scratch\n")
	if !ok {
		t.Fatal("the Dockerfile's last stage does not start from scratch")
	}
	c := config("${VERSION}")
	want := []string{
		"USER " + c.User + "\n",
		fmt.Sprintf("ENTRYPOINT [%q]\n", c.Entrypoint[0]),
		"COPY --from=build " + caRoots + " " + caRoots + "\n",
		"COPY --from=build /out/webhook /out/capvet /usr/local/bin/\n",
	}
	for label, value := range c.Labels {
		want = append(want, fmt.Sprintf("%s=%q", label, value))
	}
	for _, part := range want {
		if !strings.Contains(last, part) {
			t.Errorf("%q is not in it", part)
		}
	}
	if got := strings.Count(last, "org.opencontainers"); got != len(c.Labels) {
		t.Errorf("it has %d labels, here are %d", got, len(c.Labels))
	}
}

// TestReproducible: the same files give the same image.
func TestReproducible(t *testing.T) {
	files := []file{{"/usr/local/bin/webhook", 0o755, []byte("program")}, {"/usr/local/bin/capvet", 0o755, []byte("another")}}
	var digests []string
	for range 2 {
		image, err := assemble("arm64", "v1", files)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, digest.String())
	}
	if digests[0] != digests[1] {
		t.Error("two digests")
	}
}
