package registry

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
)

func TestGuard(t *testing.T) {
	private := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	allowed := []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32"), netip.MustParsePrefix("10.1.0.0/16")}
	for _, tt := range []struct {
		host    string
		refused bool
	}{
		{"8.8.8.8", false}, {"192.168.1.1", false}, {"2606:4700::1111", false}, {"registry.example.com", false},
		{"127.0.0.1", true}, {"127.0.0.2", false}, {"::1", true}, {"0.0.0.0", true}, {"0.1.2.3", true}, {"::", true},
		{"169.254.169.254", true}, {"fe80::1%eth0", true}, {"224.0.0.1", true}, {"ff02::1", true}, {"255.255.255.255", true},
		{"100.100.100.200", true}, {"168.63.129.16", true}, {"192.0.0.192", true}, {"fd00:ec2::254", true},
		{"10.0.0.1", true}, {"10.1.0.1", false},
		{"::ffff:127.0.0.1", true}, {"::ffff:127.0.0.2", false}, {"::ffff:169.254.169.254", true},
		{"::127.0.0.1", true}, {"::8.8.8.8", false},
		{"64:ff9b::169.254.169.254", true}, {"64:ff9b::10.0.0.1", true}, {"64:ff9b::8.8.8.8", false}, {"64:ff9b:1::127.0.0.1", true},
		{"2002:a9fe:a9fe::1", true}, {"2002:808:808::1", false},
		{"2001:0:808:808::5601:5601", true}, // a client at 169.254.169.254
		{"2001:0:7f00:1::f7f7:f7f7", true}, {"2001:0:808:808::f7f7:f7f7", false},
		{"localhost", true}, {"LOCALHOST.", true}, {"a.localhost", true}, {"localhost.example.com", false},
		{"127.1", true}, {"2130706433", true}, {"0x7f.0.0.1", true}, {"127.0.0.1.", true}, {"1.example.com", false}, {"1registry",
			false}, {"0xregistry", false},
	} {
		if err := newGuard(allowed, private).checkHost(tt.host); errors.Is(err, ErrBlocked) != tt.refused {
			t.Errorf("%s: %v", tt.host, err)
		}
	}
}

// TestGuardBehindAProxy: a request for a refused address does not reach a proxy.
func TestGuardBehindAProxy(t *testing.T) {
	asked := make(chan string, 10)
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.Host }))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	plain := []string{"169.254.169.254", "localhost", "registry.example.com"}
	transport := NewTransport(TransportOptions{PlainHTTP: plain, Allow: []netip.Prefix{netip.MustParsePrefix(at.Hostname() + "/32")}})
	transport.(*schemeGuard).next.(*http.Transport).Proxy = http.ProxyURL(at)
	for _, host := range plain {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(request)
		if err == nil {
			_ = response.Body.Close()
		}
		// The test permits the loopback address of the proxy, and with it localhost.
		if refused := errors.Is(err, ErrBlocked); refused != (host == "169.254.169.254") {
			t.Errorf("%s: %v", host, err)
		}
	}
	close(asked)
	for host := range asked {
		if host == "169.254.169.254" {
			t.Error("the proxy was asked for it")
		}
	}
}
