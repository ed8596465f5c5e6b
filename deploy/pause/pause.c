/* The pause container: process 1 of a pod's sandbox. It holds the pod's
 * namespaces, reaps what is orphaned into them when processes are shared, and
 * leaves on SIGTERM or SIGINT. No C library: a page of memory, a kilobyte of
 * file.
 *
 * Signals are blocked and waited for: the kernel drops signals that process 1
 * neither handles nor blocks. */

enum { SIG_BLOCK = 0, SIGINT = 2, SIGTERM = 15, SIGCHLD = 17, WNOHANG = 1 };

#if defined(__x86_64__)
enum { SYS_exit = 60, SYS_wait4 = 61, SYS_rt_sigprocmask = 14, SYS_rt_sigtimedwait = 128 };
static long call(long n, long a, long b, long c, long d)
{
	long r;
	register long r10 __asm__("r10") = d;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return r;
}
__asm__(".globl _start\n_start:\n\txor %ebp,%ebp\n\tand $-16,%rsp\n\tcall run\n");
#elif defined(__aarch64__)
enum { SYS_exit = 93, SYS_wait4 = 260, SYS_rt_sigprocmask = 135, SYS_rt_sigtimedwait = 137 };
static long call(long n, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
}
__asm__(".globl _start\n_start:\n\tmov x29,#0\n\tbl run\n");
#else
#error "pause is written for amd64 and arm64"
#endif

__attribute__((noreturn, used)) static void run(void)
{
	/* Bit N-1 stands for signal N; the kernel's set is 8 bytes. */
	unsigned long set = 1UL << (SIGINT - 1) | 1UL << (SIGTERM - 1) | 1UL << (SIGCHLD - 1);
	call(SYS_rt_sigprocmask, SIG_BLOCK, (long)&set, 0, 8);
	for (;;) {
		/* Children that ended before the signal was blocked count too. */
		while (call(SYS_wait4, -1, 0, WNOHANG, 0) > 0)
			;
		long got = call(SYS_rt_sigtimedwait, (long)&set, 0, 0, 8);
		if (got == SIGTERM || got == SIGINT)
			for (;;)
				call(SYS_exit, 0, 0, 0, 0);
	}
}
