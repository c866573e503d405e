package registry

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// writeConfig writes the registry's configuration and password files, and returns
// the path of the configuration. Its format is YAML, of which JSON is a subset.
func writeConfig(options Options) (string, error) {
	if err := os.MkdirAll(storage(options.Dir), 0o700); err != nil {
		return "", err
	}
	http := map[string]any{"addr": fmt.Sprintf("127.0.0.1:%d", options.Port)}
	if options.Certificate != "" {
		http["tls"] = map[string]any{"certificate": options.Certificate, "key": options.Key}
	}
	config := map[string]any{
		"version": 0.1,
		"log":     map[string]any{"level": "info"},
		"storage": map[string]any{
			"filesystem": map[string]any{"rootdirectory": storage(options.Dir)},
			"delete":     map[string]any{"enabled": true},
		},
		"http": http,
	}
	if len(options.Users) > 0 {
		passwords := filepath.Join(options.Dir, "htpasswd")
		if err := writePasswords(passwords, options.Users); err != nil {
			return "", err
		}
		config["auth"] = map[string]any{"htpasswd": map[string]any{"realm": "capvet tests", "path": passwords}}
	}
	content, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(options.Dir, "config.yml")
	return path, os.WriteFile(path, content, 0o600)
}

// writePasswords writes a htpasswd file. The registry knows bcrypt only; the
// least cost will do for passwords of tests.
func writePasswords(path string, users map[string]string) error {
	var lines strings.Builder
	for _, user := range slices.Sorted(maps.Keys(users)) {
		hash, err := bcrypt.GenerateFromPassword([]byte(users[user]), bcrypt.MinCost)
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%s:%s\n", user, hash)
	}
	return os.WriteFile(path, []byte(lines.String()), 0o600)
}

func storage(dir string) string { return filepath.Join(dir, "storage") }
