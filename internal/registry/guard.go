package registry

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// guard decides which addresses may be connected to. Allow takes precedence.
type guard struct{ allow, deny []netip.Prefix }

// refusedByDefault lists networks in which no registry belongs, besides the kinds
// that netip itself recognises: this host's own, and the metadata services of
// cloud providers that are not link-local.
var refusedByDefault = [...]string{
	"0.0.0.0/8", "255.255.255.255/32",
	"100.100.100.200/32", // Alibaba Cloud
	"168.63.129.16/32",   // Azure
	"192.0.0.192/32",     // Oracle Cloud
	"fd00:ec2::254/128",  // Amazon
}

func newGuard(allow, deny []netip.Prefix) *guard {
	g := &guard{allow: allow, deny: slices.Clone(deny)}
	for _, network := range refusedByDefault {
		g.deny = append(g.deny, netip.MustParsePrefix(network))
	}
	return g
}

// control runs after name resolution, before each connection is opened.
func (g *guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q is no address", ErrBlocked, address)
	}
	return g.check(at.Addr())
}

// check refuses an address for itself or for the IPv4 address embedded in it.
func (g *guard) check(ip netip.Addr) error {
	ip = ip.Unmap().WithZone("")
	within := func(ip netip.Addr) func(netip.Prefix) bool {
		return func(p netip.Prefix) bool { return p.Contains(ip) }
	}
	if slices.ContainsFunc(g.allow, within(ip)) {
		return nil
	}
	for _, at := range append(embedded(ip), ip) {
		if at.IsLoopback() || at.IsUnspecified() || at.IsMulticast() || at.IsLinkLocalUnicast() || slices.ContainsFunc(g.deny, within(at)) {
			return fmt.Errorf("%w: the address %s is refused (an administrator can allow it)", ErrBlocked, ip)
		}
	}
	return nil
}

// checkHost refuses the host of a URL if that host alone shows a refused address.
// Behind a proxy no other check is possible: the proxy resolves and connects.
func (g *guard) checkHost(host string) error {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if at, err := netip.ParseAddr(name); err == nil {
		return g.check(at)
	}
	// RFC 6761, section 6.3.
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		if err := g.check(netip.AddrFrom4([4]byte{127, 0, 0, 1})); err != nil {
			return err
		}
	}
	// The C library's resolvers accept 127.1, 0x7f.0.0.1 and 2130706433 as IPv4
	// addresses. No top-level domain is a number.
	if number.MatchString(name[strings.LastIndexByte(name, '.')+1:]) {
		return fmt.Errorf("%w: %s is an address in an unusual form", ErrBlocked, host)
	}
	return nil
}

var number = regexp.MustCompile(`^([0-9]+|0x[0-9a-f]*)$`)

// IPv6 prefixes that gateways and tunnels translate to IPv4.
var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")   // RFC 6052
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215
	sixToFour  = netip.MustParsePrefix("2002::/16")      // RFC 3056
	teredo     = netip.MustParsePrefix("2001::/32")      // RFC 4380
	compatible = netip.MustParsePrefix("::/96")          // RFC 4291, 2.5.5.1
)

// embedded returns the IPv4 addresses that an IPv6 address may be translated to.
func embedded(ip netip.Addr) []netip.Addr {
	if !ip.Is6() {
		return nil
	}
	b := ip.As16()
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte(b[i : i+4])) }
	switch {
	case nat64.Contains(ip), nat64Local.Contains(ip), compatible.Contains(ip):
		return []netip.Addr{at(12)}
	case sixToFour.Contains(ip):
		return []netip.Addr{at(2)}
	case teredo.Contains(ip): // the server, and the inverted client
		var client [4]byte
		binary.BigEndian.PutUint32(client[:], ^binary.BigEndian.Uint32(b[12:]))
		return []netip.Addr{at(4), netip.AddrFrom4(client)}
	}
	return nil
}
