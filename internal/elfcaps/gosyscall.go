package elfcaps

// goThreadCalls are functions of Go's standard library that hand a system call to
// every thread through memory, where it is not followed: they take its number
// and arguments in registers.
var goThreadCalls = [...]string{"syscall.AllThreadsSyscall", "syscall.AllThreadsSyscall6"}

// goPerThread is the function that makes the call which those were given. Theirs
// are its only arguments.
const goPerThread = "runtime.runPerThreadSyscall"
