package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestProbe(t *testing.T) {
	for name, tt := range map[string]struct {
		status     int
		body, want string
	}{
		"trusted":     {http.StatusOK, "# HELP x\ncapvet_certificate_trusted 1\n", ""},
		"not trusted": {http.StatusOK, "capvet_certificate_trusted 0\n", "does not accept its certificate"},
		"another's":   {http.StatusOK, "up 1\n", "is it capvet's?"},
		"down":        {http.StatusServiceUnavailable, "", "503"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			}))
			defer server.Close()
			var output strings.Builder
			err := probe(t.Context(), server.URL, &output)
			if tt.want == "" && (err != nil || !strings.Contains(output.String(), "accepts its certificate")) {
				t.Errorf("%v, %q", err, output.String())
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v", err)
			}
		})
	}
}
