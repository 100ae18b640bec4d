/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets that must be refused with a reason, or be changed without harm: P08 seccomp, P13 traced, P14 exited main
 * thread, P17 zombie, P18 no permission, P38 small stacks, P43 stopped, P46 limits, kernel threads, no such process.
 */
#include <errno.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <grp.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

#define SMALL_STACK 16384u
#define SMALL_ALT 4096u
#define ALT_MAX (256u << 10)
#define NOBODY 65534u

static int ask[2], answer[2];
static atomic_uint *ready;

/* Answers one byte for each; the target's whole life. */
static void serve(void)
{
	char c;

	for (;;) {
		ssize_t n = read(ask[0], &c, 1);

		if (n != 1 || write(answer[1], &c, 1) != 1)
			_exit(9);
	}
}

static bool answers(void)
{
	char c = 'q';

	return write(ask[1], &c, 1) == 1 && read(answer[0], &c, 1) == 1;
}

static pid_t target(void (*prepare)(void))
{
	pid_t pid;

	if (pipe(ask) || pipe(answer))
		exit(1);
	atomic_store(ready, 0);
	pid = fork_bound();
	if (!pid) {
		close(ask[1]);
		close(answer[0]);
		if (prepare)
			prepare();
		atomic_store(ready, 1);
		serve();
	}
	close(ask[0]);
	close(answer[1]);
	for (unsigned i = 0; i < 2000 && !atomic_load(ready); i++)
		sleep_ms(1);
	sleep_ms(20);
	return pid;
}

static void target_end(pid_t pid)
{
	finish(pid);
	close(ask[1]);
	close(answer[0]);
}

/* Refused with `want` (KLP_OK: it works); the target unharmed either way. */
static void expect(const char *name, pid_t pid, enum klp_reason want, struct tool_result *r)
{
	char *before = maps_text(pid), *after;
	int status;

	tool_cycles(pid, want ? 2 : 20, 300, false, r);
	if (want)
		check(r->rc && r->error.reason == want && *r->error.text, "%s: %d %s %s instead of %s", name, r->rc,
		      klp_reason_name(r->error.reason), r->error.text, klp_reason_name(want));
	else
		check(!r->rc, "%s: cycle %u: %s %s", name, r->cycles, klp_reason_name(r->error.reason), r->error.text);
	check(!waitpid(pid, &status, WNOHANG), "%s: the target ended with status %x", name, (unsigned)status);
	check(answers(), "%s: no answer", name);
	after = maps_text(pid);
	check(!strcmp(before, after), "%s: mappings before:\n%s\nafter:\n%s", name, before, after);
	check(!status_hex(pid, pid, "\nSigBlk:"), "%s: signals are blocked", name);
	printf("%s: %s %s\n", name, want ? klp_reason_name(r->error.reason) : "works", want ? r->error.text : "");
	free(before);
	free(after);
}

static void filter(uint32_t action, int nr)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);

	if (!ctx || (nr >= 0 && seccomp_rule_add(ctx, action, nr, 0)) || seccomp_load(ctx))
		_exit(8);
	seccomp_release(ctx);
}

static void filter_mmap(void)
{
	filter(SCMP_ACT_KILL_PROCESS, SCMP_SYS(mmap));
}

static void filter_clone(void)
{
	filter(SCMP_ACT_KILL_PROCESS, SCMP_SYS(clone));
}

static void filter_membarrier(void)
{
	filter(SCMP_ACT_KILL_PROCESS, SCMP_SYS(membarrier));
}

static void filter_errno(void)
{
	filter(SCMP_ACT_ERRNO(EPERM), SCMP_SYS(membarrier));
}

static void filter_sigreturn(void)
{
	filter(SCMP_ACT_KILL_PROCESS, SCMP_SYS(rt_sigpending));
}

static void filter_none(void)
{
	/* One rule, so that there is a filter at all. */
	filter(SCMP_ACT_KILL_PROCESS, SCMP_SYS(reboot));
}

static void limit_as(void)
{
	struct rlimit l = {0, 0};
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f || fscanf(f, "%lu", &pages) != 1)
		_exit(8);
	fclose(f);
	l.rlim_cur = l.rlim_max = pages * 4096 + 65536;
	setrlimit(RLIMIT_AS, &l);
}

static void limit_nproc(void)
{
	struct rlimit l = {1, 1};

	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
		_exit(8);
	prctl(PR_SET_DUMPABLE, 1);
	setrlimit(RLIMIT_NPROC, &l);
}

static void *server(void *arg)
{
	(void)arg;
	serve();
	return NULL;
}

static void *server_and_exit(void *arg)
{
	sleep_ms(50);
	atomic_store(ready, 1);
	return server(arg);
}

static void exit_main(void)
{
	pthread_t t;

	pthread_create(&t, NULL, server_and_exit, NULL);
	pthread_exit(NULL);
}

/* ---- small stacks ---- */
static uint8_t *stacks;
static size_t stack_size; /* SMALL_STACK, or the smallest that the C library takes */
#define STACK_COUNT 4u
#define STACK_PATTERN 0x5a

static void *small(void *arg)
{
	/* What is above SMALL_STACK is in use. */
	volatile char *used = __builtin_alloca(stack_size - SMALL_STACK + 1);

	(void)arg;
	used[0] = 1;
	serve();
	return NULL;
}

/* Every thread but the main one has 16 KiB and a guard page, and a page of pattern on the other side; the main one
 * sleeps. */
static void small_stacks(void)
{
	long least = sysconf(_SC_THREAD_STACK_MIN);
	size_t stride;

	stack_size = least > (long)SMALL_STACK ? (size_t)least : SMALL_STACK;
	stride = stack_size + 2 * 4096;
	stacks = mmap(NULL, stride * STACK_COUNT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(stacks, STACK_PATTERN, stride * STACK_COUNT);
	for (unsigned i = 0; i < STACK_COUNT; i++) {
		uint8_t *low = stacks + i * stride;
		pthread_attr_t a;
		pthread_t t;

		mprotect(low + 4096, 4096, PROT_NONE);
		pthread_attr_init(&a);
		if (pthread_attr_setstack(&a, low + 8192, stack_size) || pthread_create(&t, &a, small, NULL))
			_exit(8);
	}
	atomic_store(ready, 1);
	for (;;) {
		struct timespec t = {1000, 0};

		nanosleep(&t, NULL);
	}
}

static uint8_t alt[3][ALT_MAX]
    __attribute__((aligned(4096))); /* the middle one; its neighbours' next bytes are looked at */
static size_t alt_size;             /* SMALL_ALT, or the least that the kernel's frame fits in with a page to spare */

static void on_alt(int sig)
{
	char c;

	(void)sig;
	atomic_store(ready, 1);
	for (;;) {
		ssize_t n = read(ask[0], &c, 1);

		for (unsigned i = 0; i < ALT_MAX; i++)
			if (alt[0][i] != STACK_PATTERN || alt[2][i] != STACK_PATTERN)
				_exit(7);
		for (size_t i = alt_size; i < ALT_MAX; i++)
			if (alt[1][i] != STACK_PATTERN)
				_exit(7);
		if (n != 1 || write(answer[1], &c, 1) != 1)
			_exit(9);
	}
}

static void alternate(void)
{
	unsigned long least = getauxval(AT_MINSIGSTKSZ);
	stack_t s = {.ss_sp = alt[1]};
	struct sigaction sa = {.sa_handler = on_alt, .sa_flags = SA_ONSTACK | SA_NODEFER};

	alt_size = s.ss_size = least >= SMALL_ALT ? (least + 8191) & ~4095ul : SMALL_ALT;
	if (alt_size > ALT_MAX)
		_exit(8);
	memset(alt, STACK_PATTERN, sizeof(alt));
	if (sigaltstack(&s, NULL) || sigaction(SIGUSR1, &sa, NULL))
		_exit(8);
	raise(SIGUSR1);
}

static void refused_open(const char *name, pid_t pid, enum klp_reason want, struct tool_result *r)
{
	tool_cycles(pid, 1, 300, false, r);
	check(r->rc && r->error.reason == want, "%s: %d %s %s", name, r->rc, klp_reason_name(r->error.reason),
	      r->error.text);
	printf("%s: %s %s\n", name, klp_reason_name(r->error.reason), r->error.text);
}

int main(void)
{
	const struct {
		const char *name;
		void (*prepare)(void);
		enum klp_reason want;
	} simple[] = {
	    {"seccomp kills mmap", filter_mmap, KLP_SECCOMP},
	    {"seccomp kills clone", filter_clone, KLP_SECCOMP},
	    {"seccomp kills membarrier", filter_membarrier, KLP_SECCOMP},
	    {"seccomp errno for membarrier", filter_errno, KLP_SECCOMP},
	    {"seccomp kills rt_sigpending", filter_sigreturn, KLP_SECCOMP},
	    {"seccomp allows", filter_none, KLP_OK},
	    {"RLIMIT_AS", limit_as, KLP_NO_ROOM},
	    {"RLIMIT_NPROC", limit_nproc, KLP_NO_ROOM},
	    {"exited main thread", exit_main, KLP_OK},
	    {"16 KiB stacks", small_stacks, KLP_NO_BORROW},
	    {"alternate stack", alternate, KLP_NO_BORROW},
	};
	struct tool_result *r = shared(sizeof(*r));
	pid_t pid, other;
	int status;

	ready = shared(4096);
	if (geteuid())
		return TEST_SKIPPED;
	for (size_t i = 0; i < sizeof(simple) / sizeof(simple[0]); i++) {
		pid = target(simple[i].prepare);
		expect(simple[i].name, pid, simple[i].want, r);
		target_end(pid);
	}

	pid = target(NULL);
	other = fork_bound();
	if (!other) {
		if (ptrace(PTRACE_SEIZE, pid, NULL, NULL))
			_exit(1);
		atomic_store(ready, 2);
		for (;;)
			pause();
	}
	while (atomic_load(ready) != 2)
		sleep_ms(1);
	expect("traced", pid, KLP_TRACED, r);
	finish(other);
	expect("traced no more", pid, KLP_OK, r);

	kill(pid, SIGSTOP);
	waitpid(pid, &status, WUNTRACED);
	refused_open("stopped", pid, KLP_STOPPED, r);
	check(waitpid(pid, &status, WNOHANG | WCONTINUED | WUNTRACED) == 0, "stopped: its parent saw it change");
	kill(pid, SIGCONT);
	waitpid(pid, &status, WCONTINUED);
	expect("continued", pid, KLP_OK, r);

	/* As somebody else. */
	other = fork_bound();
	if (!other) {
		if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
			_exit(1);
		cycle(pid, 300, r);
		_exit(0);
	}
	waitpid(other, &status, 0);
	check(WIFEXITED(status) && !WEXITSTATUS(status) && r->rc && r->error.reason == KLP_PERMISSION,
	      "unprivileged: %d %s %s", r->rc, klp_reason_name(r->error.reason), r->error.text);
	printf("unprivileged: %s %s\n", klp_reason_name(r->error.reason), r->error.text);
	check(answers(), "unprivileged: no answer");
	target_end(pid);

	pid = fork_bound();
	if (!pid)
		_exit(0);
	sleep_ms(20);
	refused_open("zombie", pid, KLP_ZOMBIE, r);
	waitpid(pid, &status, 0);
	refused_open("gone", pid, KLP_NO_PROCESS, r);
	refused_open("pid 0", 0, KLP_USAGE, r);
	refused_open("huge pid", 0x7fffffff, KLP_NO_PROCESS, r);
	refused_open("kernel thread", 2, KLP_KERNEL_MADE, r);
	return check_end();
}
