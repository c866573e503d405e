package main

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

func TestParting(t *testing.T) {
	var leaving atomic.Bool
	server := httptest.NewServer(parting(&leaving, http.NotFoundHandler()))
	defer server.Close()
	for _, want := range []bool{false, true} {
		leaving.Store(want)
		response, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.Close != want {
			t.Errorf("leaving: %t; the connection is to be closed: %t", want, response.Close)
		}
	}
}
