package imagefs

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// capabilityRecord is the PAX record of the extended attribute
// security.capability.
const capabilityRecord = "SCHILY.xattr.security.capability"

// Revisions and flags of the attribute, little-endian (linux/capability.h).
const (
	capRevisionMask = 0xff000000
	capRevision1    = 0x01000000 // one pair of 32-bit sets
	capRevision2    = 0x02000000 // two
	capRevision3    = 0x03000000 // two, and the UID of a namespace's root
	capEffective    = 0x000001
)

// capabilityNames are the names of capabilities, by number (linux/capability.h, 6.12).
var capabilityNames = [...]string{
	"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "linux_immutable",
	"net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot",
	"sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod", "lease",
	"audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read",
	"perfmon", "bpf", "checkpoint_restore",
}

// malformedCapabilities is the text of an attribute that the kernel refuses.
const malformedCapabilities = "malformed"

// capabilities returns the text of the attribute in the form of cap_to_text(3),
// for example "cap_net_admin,cap_net_raw=ep"; empty for an empty attribute.
func capabilities(attribute string) string {
	if attribute == "" {
		return ""
	}
	word := func(i int) uint64 { return uint64(binary.LittleEndian.Uint32([]byte(attribute[4*i:]))) }
	var permitted, inheritable uint64
	size := map[uint64]int{capRevision1: 12, capRevision2: 20, capRevision3: 24}
	if len(attribute) < 4 || len(attribute) != size[word(0)&capRevisionMask] {
		return malformedCapabilities
	}
	permitted, inheritable = word(1), word(2)
	if len(attribute) >= 20 {
		permitted, inheritable = permitted|word(3)<<32, inheritable|word(4)<<32
	}
	effective := word(0)&capEffective != 0
	groups := map[string][]string{} // by flags
	for i := range 64 {
		flags := ""
		if effective && (permitted|inheritable)>>i&1 == 1 {
			flags += "e"
		}
		if inheritable>>i&1 == 1 {
			flags += "i"
		}
		if permitted>>i&1 == 1 {
			flags += "p"
		}
		if flags == "" {
			continue
		}
		name := fmt.Sprint(i)
		if i < len(capabilityNames) {
			name = "cap_" + capabilityNames[i]
		}
		groups[flags] = append(groups[flags], name)
	}
	var clauses []string
	for flags, names := range groups {
		clauses = append(clauses, strings.Join(names, ",")+"="+flags)
	}
	slices.Sort(clauses)
	return strings.Join(clauses, " ")
}
