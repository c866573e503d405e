package elfcaps

// goThreadCalls are functions of Go's standard library that make a system call on
// every thread. They take its number and arguments in registers, and pass them on
// through memory that the interpreter does not follow.
var goThreadCalls = [...]string{"syscall.AllThreadsSyscall", "syscall.AllThreadsSyscall6"}

// goPerThread is the function that makes that call on one thread.
const goPerThread = "runtime.runPerThreadSyscall"
