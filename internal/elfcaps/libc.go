package elfcaps

// modelled says that calls of this imported function mean something here.
func modelled(name string) bool {
	switch name {
	case "syscall", "capget", "capset", "dlsym", threadAddress,
		"memcpy", "memmove", "mempcpy", "memset", "bzero", "__memcpy_chk", "__memset_chk", "__memmove_chk":
		return true
	}
	return neverReturns(name)
}

// neverReturns says that the C library's function of that name ends the program
// or goes on elsewhere.
func neverReturns(name string) bool {
	switch name {
	case "abort", "exit", "_exit", "_Exit", "quick_exit", "longjmp", "_longjmp", "siglongjmp", "__longjmp_chk",
		"__stack_chk_fail", "__assert_fail", "__chk_fail", "err", "errx", "verr", "verrx",
		"_Unwind_Resume", "__cxa_throw", "__cxa_rethrow":
		return true
	}
	return false
}
