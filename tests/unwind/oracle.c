/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oracle: single-steps a program with all its threads and children, keeps for each a shadow stack of what the
 * processor's own calls pushed, and at every instruction asks the unwinder. Its trace must be the shadow stack, or it
 * must say that it does not know. One wrong trace fails the test.
 *
 * usage: oracle [--mutate] [--late] [--least PERCENT] [--row NAME] STEPS PROGRAM [ARG...]
 *   --mutate   damaged rows, which the oracle must notice
 *   --late     steps only through the threads that the program makes
 *   --least    this share must be reliable, default 90
 *   --row      prints a line of a table as well
 * The program is started again until STEPS instructions were executed; ORACLE_ROUND in its environment counts. SIGTERM
 * ends it earlier.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unwind/shadow.h"
#include "tests/unwind/space.h"
#include "tests/unwind/verdict.h"

#define MAX_TASKS 512
#define LATE_LOOK 4096u
#define MIN_STEPS 1000u /* fewer in one run of the program: something is wrong with it */

/* An address space. */
struct program {
	pid_t pid;
	unsigned tasks;
	struct test_space space;
	struct memory memory;
	bool dirty; /* its mappings have changed */
};

enum task_state {
	TASK_NEW,      /* made by another one; has not stopped yet, or nobody has said yet whose it is */
	TASK_FREE,     /* where it would return to is not known: not stepped, until it executes a program */
	TASK_TO_ENTRY, /* executes the dynamic linker, up to the program's entry point */
	TASK_STEPS,
};

struct task {
	pid_t tid;
	enum task_state state;
	bool stopped, linked; /* of a new one: both, and it begins */
	bool free;            /* as TASK_FREE, from then on */
	struct program *p;
	struct shadow shadow;
	struct user_regs_struct u; /* at the last stop */
	struct shadow_insn insn;   /* that it executes now */
	long entry_word;
	bool sigreturn, delivers;
};

static struct task *task[MAX_TASKS];
static size_t tasks;
static struct verdicts verdicts;
static uint64_t limit;
static bool mutate, late;
static volatile sig_atomic_t ended;

static struct task *task_find(pid_t tid)
{
	for (size_t i = 0; i < tasks; i++)
		if (task[i]->tid == tid)
			return task[i];
	return NULL;
}

static struct task *task_new(pid_t tid)
{
	struct task *t = calloc(1, sizeof(*t));

	if (!t || tasks == MAX_TASKS)
		test_die("tasks");
	t->tid = tid;
	task[tasks++] = t;
	return t;
}

static struct program *program_new(pid_t pid)
{
	struct program *p = calloc(1, sizeof(*p));

	if (!p)
		test_die("program");
	p->pid = pid;
	memory_open(&p->memory, pid);
	return p;
}

static void program_put(struct program *p)
{
	if (!p || --p->tasks)
		return;
	test_space_free(&p->space);
	memory_close(&p->memory);
	free(p);
}

static void program_map(struct program *p, pid_t tid)
{
	struct memory_range *fixed;

	test_space_free(&p->space);
	test_space_build(tid, &p->space, mutate);
	fixed = p->space.fixed;
	p->space.fixed = NULL;
	memory_forget(&p->memory, fixed, p->space.fixed_count);
	p->dirty = false;
}

static void task_drop(struct task *t)
{
	size_t i = 0;

	while (task[i] != t)
		i++;
	task[i] = task[--tasks];
	program_put(t->p);
	shadow_free(&t->shadow);
	free(t);
}

/* A thread can be killed at any moment: that it is gone is said by waitpid. */
static bool task_ptrace(const struct task *t, long request, void *addr, void *data)
{
	if (ptrace((enum __ptrace_request)request, t->tid, addr, data) >= 0)
		return true;
	if (errno != ESRCH)
		test_die("ptrace");
	return false;
}

static void task_go(struct task *t, int sig)
{
	bool steps = t->state == TASK_STEPS;

	t->delivers = sig != 0;
	task_ptrace(t, steps ? PTRACE_SINGLESTEP : PTRACE_CONT, NULL, (void *)(intptr_t)sig);
}

static bool task_regs(struct task *t, struct user_regs_struct *u)
{
	if (!task_ptrace(t, PTRACE_GETREGS, NULL, u))
		return false;
	memory_move(&t->p->memory, t->tid, u->rsp);
	return true;
}

static void fill(const struct user_regs_struct *u, struct klp_unw_regs *r)
{
	const uint64_t v[16] = {u->rax, u->rdx, u->rcx, u->rbx, u->rsi, u->rdi, u->rbp, u->rsp,
				u->r8,  u->r9,  u->r10, u->r11, u->r12, u->r13, u->r14, u->r15};

	memset(r, 0, sizeof(*r));
	memcpy(r->r, v, sizeof(v));
	r->known = 0xffff;
	r->pc = u->rip;
}

/* Does the system call that is about to be made change what is mapped as text? What only allocates does not. */
static bool maps_objects(const struct user_regs_struct *u)
{
	switch (u->rax) {
	case SYS_mmap:
		return (int)u->r8 >= 0 || (u->rdx & PROT_EXEC) || (u->r10 & MAP_FIXED);
	case SYS_mprotect:
		return (u->rdx & PROT_EXEC) != 0;
	case SYS_munmap:
	case SYS_mremap:
		return true;
	default:
		return false;
	}
}

/* Asks about the state that the thread is in, and notes what it will execute. */
static void task_look(struct task *t)
{
	struct verdict_thread th = {t->tid == t->p->pid, t->p->space.start_stack, t->u.fs_base, MEMORY_PAGE};
	uint8_t code[SHADOW_INSN_BYTES] = {0};
	struct klp_unw_regs regs;

	/* What a free thread of it maps is not seen. */
	if (t->p->dirty || (late && verdicts.steps % LATE_LOOK == 0)) {
		t->p->dirty = false;
		if (test_space_signature(t->tid) != t->p->space.signature)
			program_map(t->p, t->tid);
	}
	fill(&t->u, &regs);
	verdict_ask(&verdicts, t->p->space.space, &th, &regs, &t->shadow, &t->p->memory);
	if (memory_read(&t->p->memory, t->u.rip, code, sizeof(code)))
		memset(code, 0, sizeof(code));
	shadow_decode(code, &t->insn);
	t->sigreturn = t->insn.kind == SHADOW_SYSCALL && t->u.rax == SYS_rt_sigreturn;
	t->p->dirty |= t->insn.kind == SHADOW_SYSCALL && maps_objects(&t->u);
}

/* The thread has executed one instruction, or the kernel has put it into a handler. */
static void task_moved(struct task *t, const struct user_regs_struct *now, bool handler)
{
	const struct user_regs_struct was = t->u;
	uint64_t pc, sp;

	t->u = *now;
	if (handler)
		shadow_signal(&t->shadow, was.rsp, was.rip, now->rsp, memory_read, &t->p->memory);
	else if (t->sigreturn) {
		if (!shadow_sigreturn(&t->shadow, &pc, &sp))
			test_die("a return from no signal");
	} else if (t->insn.repeats && now->rip == was.rip)
		return; /* one turn of many: nothing that a walk sees has changed */
	else
		shadow_step(&t->shadow, &t->insn, was.rsp, now->rsp, now->rip, memory_read, &t->p->memory);
	task_look(t);
}

/* A program was executed: its first instruction of its own is at the entry point, where nothing is to return to. */
static void task_executes(struct task *t)
{
	/* Its other threads; one of them has called, perhaps: its tid is the first one's now. */
	for (size_t i = tasks; i-- > 0;)
		if (task[i] != t && task[i]->p == t->p)
			task_drop(task[i]);
	program_put(t->p);
	shadow_free(&t->shadow);
	t->p = program_new(t->tid);
	t->p->tasks = 1;
	t->state = late ? TASK_FREE : TASK_TO_ENTRY;
	if (late) {
		task_go(t, 0);
		return;
	}
	program_map(t->p, t->tid);
	errno = 0;
	t->entry_word = ptrace(PTRACE_PEEKTEXT, t->tid, t->p->space.entry, 0);
	if (errno)
		test_die("entry");
	task_ptrace(t, PTRACE_POKETEXT, (void *)t->p->space.entry, (void *)((t->entry_word & ~0xffL) | 0xcc));
	task_go(t, 0);
}

static void task_enters(struct task *t)
{
	if (!task_ptrace(t, PTRACE_POKETEXT, (void *)t->p->space.entry, (void *)t->entry_word) || !task_regs(t, &t->u))
		return;
	if (t->u.rip != t->p->space.entry + 1)
		test_die("a trap elsewhere");
	t->u.rip--;
	task_ptrace(t, PTRACE_SETREGS, NULL, &t->u);
	program_map(t->p, t->tid); /* now with the libraries */
	t->state = TASK_STEPS;
	task_look(t);
	task_go(t, 0);
}

/* Somebody else's new thread or child has stopped, and it is known whose it is. */
static void task_begins(struct task *t)
{
	if (t->free) {
		t->state = TASK_FREE;
		task_go(t, 0);
		return;
	}
	if (t->p->pid == t->tid || !t->p->space.space)
		program_map(t->p, t->tid);
	t->state = TASK_STEPS;
	if (!task_regs(t, &t->u))
		return;
	task_look(t);
	task_go(t, 0);
}

/* t, which has called clone, fork or vfork, has a child. */
static void task_forks(struct task *t)
{
	uint64_t flags = 0, stack = 0;
	struct user_regs_struct u;
	unsigned long tid = 0;
	struct task *child;

	if (!task_ptrace(t, PTRACE_GETEVENTMSG, NULL, &tid))
		return;
	child = task_find((pid_t)tid);
	if (!child)
		child = task_new((pid_t)tid);
	/* The kernel has changed none of the call's arguments. */
	if (!task_ptrace(t, PTRACE_GETREGS, NULL, &u))
		return;
	if (u.orig_rax == SYS_clone) {
		flags = u.rdi;
		stack = u.rsi;
	} else if (u.orig_rax == SYS_clone3) {
		memory_move(&t->p->memory, t->tid, u.rsp);
		if (memory_read(&t->p->memory, u.rdi, &flags, 8) || memory_read(&t->p->memory, u.rdi + 40, &stack, 8))
			test_die("clone3");
	} else if (u.orig_rax == SYS_vfork) {
		flags = CLONE_VM | CLONE_VFORK;
	}
	child->linked = true;
	if (flags & CLONE_THREAD) {
		child->p = t->p;
		child->free = t->state != TASK_STEPS && !late;
	} else {
		child->p = program_new(child->tid);
		/* Whatever shares memory without being a thread executes a program soon (posix_spawn). */
		child->free = t->state != TASK_STEPS || ((flags & CLONE_VM) && stack);
	}
	child->p->tasks++;
	if (!stack)
		shadow_copy(&child->shadow, &t->shadow);
	if (child->stopped)
		task_begins(child);
	task_ptrace(t, t->state == TASK_STEPS ? PTRACE_SINGLESTEP : PTRACE_CONT, NULL, NULL);
}

/* After a signal was passed on: is this the handler's first instruction, or the one behind? */
static bool task_in_handler(struct task *t)
{
	siginfo_t info;

	/* ptrace_notify() of the kernel's signal_setup_done(): no si_code of a trap. */
	return task_ptrace(t, PTRACE_GETSIGINFO, NULL, &info) && info.si_code == SIGTRAP;
}

static void task_stopped(struct task *t, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16;
	struct user_regs_struct now;

	if (event == PTRACE_EVENT_STOP && t->state == TASK_NEW) {
		t->stopped = true;
		if (t->linked)
			task_begins(t);
	} else if (event == PTRACE_EVENT_STOP) {
		task_ptrace(t, sig == SIGTRAP ? PTRACE_CONT : PTRACE_LISTEN, NULL, NULL);
	} else if (event == PTRACE_EVENT_EXEC) {
		task_executes(t);
	} else if (event) {
		task_forks(t);
	} else if (t->state != TASK_STEPS) {
		if (sig == SIGTRAP && t->state == TASK_TO_ENTRY)
			task_enters(t);
		else
			task_go(t, sig);
	} else if (task_regs(t, &now)) {
		bool trap = sig == SIGTRAP, handler = trap && t->delivers && task_in_handler(t);

		if (trap || now.rip != t->u.rip)
			task_moved(t, &now, handler);
		task_go(t, trap ? 0 : sig);
	}
}

static void on_end(int sig)
{
	(void)sig;
	ended = 1;
}

static pid_t start(char **argv)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe(ready))
		test_die("pipe");
	pid = fork();
	if (!pid) {
		unsetenv("LD_BIND_NOW");
		/* Each turn of a string instruction would be a step. */
		setenv("GLIBC_TUNABLES",
		       "glibc.cpu.x86_rep_movsb_threshold=1000000000:"
		       "glibc.cpu.x86_rep_stosb_threshold=1000000000",
		       1);
		close(ready[1]);
		if (read(ready[0], &byte, 1) != 1)
			_exit(127);
		close(ready[0]);
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || ptrace(PTRACE_SEIZE, pid, 0,
			      PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
				  PTRACE_O_TRACEEXEC))
		test_die("seize");
	if (write(ready[1], "", 1) != 1)
		test_die("start");
	close(ready[0]);
	close(ready[1]);
	return pid;
}

/* Ends whatever is left. */
static void finish(void)
{
	int status;
	pid_t pid;

	for (size_t i = 0; i < tasks; i++)
		kill(task[i]->tid, SIGKILL);
	while ((pid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR)
		if (pid > 0 && WIFSTOPPED(status)) {
			kill(pid, SIGKILL);
			ptrace(PTRACE_CONT, pid, 0, 0);
		}
	while (tasks)
		task_drop(task[0]);
}

static void run(char **argv)
{
	struct task *first = task_new(start(argv));
	int status;
	pid_t tid;

	first->state = TASK_FREE;
	first->p = program_new(first->tid);
	first->p->tasks = 1;
	while (tasks && verdicts.steps < limit && !ended) {
		struct task *t;

		tid = waitpid(-1, &status, __WALL);
		if (tid < 0 && errno == EINTR)
			continue;
		if (tid < 0)
			test_die("waitpid");
		t = task_find(tid);
		if (!WIFSTOPPED(status)) {
			if (t)
				task_drop(t);
			continue;
		}
		task_stopped(t ? t : task_new(tid), status);
	}
	finish();
}

/* A wake-up on another processor costs more than a step. */
static void stay_here(void)
{
	cpu_set_t set;
	int cpu = sched_getcpu();

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static double now_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	const struct sigaction sa = {.sa_handler = on_end};
	const char *row = NULL;
	double least = 90, share, began;
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--mutate"))
			mutate = true;
		else if (!strcmp(argv[i], "--late"))
			late = true;
		else if (!strcmp(argv[i], "--least") && i + 1 < argc)
			least = strtod(argv[++i], NULL);
		else if (!strcmp(argv[i], "--row") && i + 1 < argc)
			row = argv[++i];
		else
			return 2;
	}
	if (argc - i < 2)
		return 2;
	limit = strtoull(argv[i++], NULL, 10);
	sigaction(SIGTERM, &sa, NULL);
	stay_here();
	began = now_seconds();
	for (unsigned round = 0; verdicts.steps < limit && !ended; round++) {
		uint64_t before = verdicts.steps;
		char text[16];

		snprintf(text, sizeof(text), "%u", round);
		setenv("ORACLE_ROUND", text, 1);
		run(argv + i);
		if (verdicts.steps - before < MIN_STEPS && verdicts.steps < limit && !ended) {
			printf("%s ended after %" PRIu64 " steps\n", argv[i], verdicts.steps - before);
			return 1;
		}
		if (mutate && verdicts.wrong)
			break;
	}
	share = verdict_print(&verdicts);
	if (row)
		verdict_row(&verdicts, row, now_seconds() - began);
	if (mutate)
		return share < 90 || verdicts.wrong ? 0 : 1;
	return verdicts.wrong || share < least;
}
