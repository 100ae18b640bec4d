/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oracle on klp's own code: at each instruction of a thread that calls patched functions, with signals on both
 * stacks, while klpctl loads, reverses, resumes and unloads a patch, the unwinder gets the tables that the engine would
 * build at that moment (klp/tables.c). Its verdict is right, or not reliable. Every region must have been crossed.
 *
 * usage: crossing [--row NAME] [--mutate] STEPS KLPCTL TARGET MODULE.klp NAME
 *   --mutate   the tables know nothing of klp's ranges: a site's code is taken for the program's own, which must be
 * noticed
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "klp/arming.h"
#include "klp/session.h"
#include "tests/unwind/crossing/helper.h"
#include "tests/unwind/crossing/page.h"
#include "tests/unwind/shadow.h"
#include "tests/unwind/space.h"
#include "tests/unwind/verdict.h"

#define SYSCALL_LEN 2u
#define MAX_SITES 16
#define WATCHED_PATCHES 4u
#define EXIT_PENDING 5 /* klpctl's */
#define MAX_AGAIN 5u
#define CTL_EVERY 64u /* steps between two looks at klpctl */
#define LOST_S 60u    /* the target shows nothing for so long: it hangs */

enum region { PROGRAM, SITE, PREFIX, STUB, TRAMPOLINE, DISPATCH, MODULE, REGIONS };
static const char *const region_name[REGIONS] = {"program",    "site",     "prefix", "stub",
						 "trampoline", "dispatch", "module"};

/* What an engine that looks now would base its tables on. */
struct look {
	uint64_t transition;
	uint32_t helper;
	uint32_t state[WATCHED_PATCHES];
	uint64_t arenas[KLP_MAX_ARENAS];
	struct klp_rt_site record[MAX_SITES]; /* of the first arena, and their sites */
	uint8_t site[MAX_SITES][32];
};

static struct crossing_page *page;
static pid_t target;
static struct klp_session session;
static struct klp_site_set sites;
static bool has_session;
static struct look last;
static enum klp_reason last_reason;
static struct memory memory;
static struct shadow shadow;
static struct verdicts verdicts;
static size_t outermost; /* depth where stepping began: in no patched function */
static uint64_t start_stack, tables, no_tables, in_transition;
static uint8_t seen[REGIONS][KLP_RT_TEXT_SIZE]; /* instructions, by their place in the region */
static uint64_t half_armed;                     /* steps in a site between its two stores */
static uint64_t crossed[REGIONS], signals[REGIONS][2], jumps;

static void die(const char *what)
{
	fprintf(stderr, "crossing: %s\n", what);
	if (target > 0)
		kill(target, SIGKILL);
	exit(1);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static pid_t spawn(char *const argv[], const char *out)
{
	pid_t pid = fork();

	if (!pid) {
		int fd = open(out, O_WRONLY | O_CREAT | O_APPEND, 0600);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
			_exit(126);
		execv(argv[0], argv);
		_exit(127);
	}
	if (pid < 0)
		die("fork");
	return pid;
}

/* Reads what the tables depend on; 0 or -errno. */
static int look(struct look *now)
{
	struct iovec mine[MAX_SITES + WATCHED_PATCHES + 4], theirs[MAX_SITES + WATCHED_PATCHES + 4];
	uint64_t cb = session.r.cb;
	unsigned n = 0;
	size_t want = 0;

	memset(now, 0, sizeof(*now));
	if (!has_session || !session.r.image)
		return -ENOENT;
	mine[n] = (struct iovec){&now->transition, 8};
	theirs[n++].iov_base = (void *)(cb + offsetof(struct klp_rt_cb, transition));
	mine[n] = (struct iovec){&now->helper, 4};
	theirs[n++].iov_base = (void *)(cb + offsetof(struct klp_rt_cb, helper_tid));
	for (unsigned i = 0; i < WATCHED_PATCHES; i++) {
		mine[n] = (struct iovec){&now->state[i], 4};
		theirs[n++].iov_base =
		    (void *)(cb + offsetof(struct klp_rt_cb, patches[i]) + offsetof(struct klp_rt_patch, state));
	}
	mine[n] = (struct iovec){now->arenas, sizeof(now->arenas)};
	theirs[n++].iov_base = (void *)(cb + offsetof(struct klp_rt_cb, arenas));
	if (session.cb && session.cb->arenas[0]) {
		mine[n] = (struct iovec){now->record, sizeof(now->record)};
		theirs[n++].iov_base = (void *)(session.cb->arenas[0] + sizeof(struct klp_rt_arena));
	}
	for (size_t i = 0; i < sites.count && i < MAX_SITES; i++) {
		mine[n] = (struct iovec){now->site[i], 32};
		theirs[n++].iov_base = (void *)(sites.site[i].rt.entry - 24);
	}
	for (unsigned i = 0; i < n; i++)
		want += theirs[i].iov_len = mine[i].iov_len;
	return process_vm_readv(target, mine, n, theirs, n, 0) == (ssize_t)want ? 0 : -EFAULT;
}

static void forget_session(void)
{
	if (!has_session)
		return;
	klp_site_set_free(&sites);
	klp_session_close(&session);
	has_session = false;
}

/* Every address of the image, as a PC and as a return address, with any registers: the trace is refused there. */
static void check_image(void)
{
	static struct klp_unw_trace trace;
	const struct klp_unw_thread th = {.stack_high = start_stack, .top_slack = 16, .main_thread = true};

	for (uint64_t a = session.r.image; a < session.r.image + KLP_RT_TEXT_SIZE; a++)
		for (int called = 0; called < 2; called++) {
			struct klp_unw_regs regs = {.pc = a + (uint64_t)called, .known = 0xffff, .called = called};

			for (unsigned i = 0; i < 16; i++)
				regs.r[i] = (uint64_t)page->reg[REG_RSP];
			klp_unw_walk(session.space, &regs, &th, memory_read, &memory, &trace);
			if (trace.verdict != KLP_UNW_IN_TRAMPOLINE)
				die("a PC in the runtime's image is not refused");
		}
}

/* The tables as an engine would build them now. false: it could not, and would give no verdict. */
static bool build_tables(void)
{
	static uint64_t checked;
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_options opt = {0};

	forget_session();
	if (klp_session_open(&session, target, KLP_SESSION_READ, &opt, &e))
		return false;
	has_session = true;
	if (klp_tables_build(&session, &e) || (session.r.image && klp_sites_read(&session, &sites, &e))) {
		forget_session();
		return false;
	}
	tables++;
	if (session.r.image && session.r.image != checked) {
		checked = session.r.image;
		check_image();
	}
	return true;
}

/* Whether the tables that there are hold for this moment. */
static bool have_tables(bool force)
{
	struct look before, now;

	for (unsigned tries = 0; tries < 20; tries++) {
		bool known = !look(&now);

		if (has_session && !force && (known ? !memcmp(&now, &last, sizeof(now)) : !session.r.image))
			return true;
		force = false;
		if (!build_tables())
			continue;
		/* Nothing has changed meanwhile: what was read first is what there is now. */
		if (session.r.image && (look(&before) || look(&now) || memcmp(&before, &now, sizeof(now))))
			continue;
		last = now;
	}
	return false;
}

static bool in_image(uint64_t pc)
{
	return pc >= session.r.image && pc < session.r.image + KLP_RT_TEXT_SIZE;
}

static void note_site(const struct klp_armed_site *a)
{
	struct klp_error e = KLP_ERROR_INIT;
	enum klp_site_state state;
	size_t done;

	half_armed += !klp_site_read_state(&session, a, &state, &done, &e) && state == KLP_STATE_PARTIAL;
}

/* *at: the place in the region, where it is klp's. */
static enum region region_of(uint64_t pc, uint64_t *at)
{
	*at = 0;
	if (!has_session || !session.r.image)
		return PROGRAM;
	*at = pc - session.r.image;
	/* Dispatch is what the trampoline calls; it is left by a jump. */
	if (in_image(pc))
		return shadow.depth && in_image(shadow.at[shadow.depth - 1].ra) ? DISPATCH : TRAMPOLINE;
	for (unsigned i = 0; session.cb && i < KLP_MAX_ARENAS; i++) {
		*at = (pc - (session.cb->arenas[i] - KLP_ARENA_STUBS_SIZE)) % KLP_STUB_SIZE;
		if (session.cb->arenas[i] && pc >= session.cb->arenas[i] - KLP_ARENA_STUBS_SIZE &&
		    pc < session.cb->arenas[i])
			return STUB;
	}
	for (size_t i = 0; i < sites.count; i++) {
		const struct klp_rt_site *rt = &sites.site[i].rt;

		*at = pc - rt->prefix;
		if (pc >= rt->prefix && pc < rt->entry)
			return PREFIX;
		if (pc >= rt->entry && pc < rt->body) {
			note_site(&sites.site[i]);
			return SITE;
		}
	}
	*at = 0;
	for (size_t i = 0; i < session.patch_count; i++)
		if (pc >= session.patch[i].rec.text && pc < session.patch[i].rec.text + session.patch[i].rec.text_len)
			return MODULE;
	return PROGRAM;
}

static uint64_t reg(unsigned which)
{
	return (uint64_t)page->reg[which];
}

static void fill(struct klp_unw_regs *r)
{
	static const unsigned by_dwarf[16] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP,
					      REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

	memset(r, 0, sizeof(*r));
	for (unsigned i = 0; i < 16; i++)
		r->r[i] = reg(by_dwarf[i]);
	r->known = 0xffff;
	r->pc = reg(REG_RIP);
}

/* The frames below the place where stepping began: as the unwinder says before klp is there, which the ptrace oracle
 * has proven right. */
static void begin_shadow(const struct klp_unw_regs *regs)
{
	static struct klp_unw_trace trace;
	const struct klp_unw_thread th = {regs->r[7], start_stack, 16, true};

	klp_unw_walk(session.space, regs, &th, memory_read, &memory, &trace);
	if (trace.verdict != KLP_OK)
		die("no reliable trace where stepping begins");
	for (size_t i = trace.count - 1; i > 0; i--)
		shadow_append(&shadow, trace.frame[i - 1].cfa - 8, trace.frame[i].pc);
	outermost = shadow.depth + 1; /* stepping begins in main, which calls loop */
}

struct state {
	uint64_t pc, sp;
	struct shadow_insn insn;
	bool sigreturn;
};

static void decode_at(uint64_t pc, struct shadow_insn *insn)
{
	uint8_t code[SHADOW_INSN_BYTES] = {0};

	if (memory_read(&memory, pc, code, sizeof(code)))
		memset(code, 0, sizeof(code));
	shadow_decode(code, insn);
}

/* From one shown state to the next. Behind a system call the trap comes one instruction late. */
static void follow(const struct state *was, uint64_t pc, uint64_t sp)
{
	struct shadow_insn next;
	uint64_t at = was->pc + SYSCALL_LEN, from = was->sp;

	if (pc == page->handler) {
		shadow_signal(&shadow, was->sp, was->pc, sp, memory_read, &memory);
		return;
	}
	if (was->insn.kind != SHADOW_SYSCALL) {
		shadow_step(&shadow, &was->insn, was->sp, sp, pc, memory_read, &memory);
		return;
	}
	if (was->sigreturn && !shadow_sigreturn(&shadow, &at, &from))
		die("a return from no signal");
	if (pc == at)
		return;
	decode_at(at, &next);
	shadow_step(&shadow, &next, from, sp, pc, memory_read, &memory);
}

/* Now and then a signal, mostly in klp's own code. */
static void inject(enum region r)
{
	static unsigned seed = 1;
	unsigned dice = (unsigned)rand_r(&seed);

	page->inject = 0;
	if (shadow.signal || dice % (r == PROGRAM || r == MODULE ? 400 : 24))
		return;
	dice = (unsigned)rand_r(&seed);
	page->inject = dice & 1 ? SIGUSR1 : SIGUSR2;
	page->jump = dice % 16 < 2;
	jumps += page->jump;
	signals[r][dice & 1]++;
}

/* A thread that is woken at each step is never proven blocked: sometimes it rests where it can move. */
static void rest(unsigned n)
{
	if (shadow.depth == outermost && n % 4 == 0)
		usleep(2000);
}

static void step(struct state *was, bool force)
{
	const struct verdict_thread th = {true, start_stack, page->tp, 0};
	struct klp_unw_regs regs;
	enum region r;
	uint64_t pc = reg(REG_RIP), sp = reg(REG_RSP), at;

	memory_move(&memory, target, sp);
	fill(&regs);
	if (!was->pc) {
		if (!have_tables(true))
			die("no tables of a program that nobody patches");
		begin_shadow(&regs);
	} else {
		follow(was, pc, sp);
	}
	if (have_tables(force))
		last_reason = verdict_ask(&verdicts, session.space, &th, &regs, &shadow, &memory);
	else
		no_tables++;
	r = region_of(pc, &at);
	crossed[r]++;
	if (at < KLP_RT_TEXT_SIZE)
		seen[r][at] = 1;
	in_transition += last.transition != 0;
	was->pc = pc;
	was->sp = sp;
	decode_at(pc, &was->insn);
	was->sigreturn = was->insn.kind == SHADOW_SYSCALL && reg(REG_RAX) == SYS_rt_sigreturn;
	inject(r);
}

/* What klpctl does, one after the other; results that are as good as any are -1. */
struct action {
	const char *verb;
	int inside; /* of the sitting thread, before; -1: as it is */
	const char *timeout;
	uint64_t steps; /* afterwards */
	int want;       /* exit status */
};
static const struct action script[] = {
    {"load", 1, "1", 3000, EXIT_PENDING},
    {"unload", -1, "60", 2000, 0}, /* a reversal in flight */
    {"load", 1, "1", 1000, EXIT_PENDING},
    {"load", 0, "60", 3000, 0}, /* resumed */
    {"unload", 1, "1", 3000, EXIT_PENDING},
    {"load", -1, "60", 1000, 0}, /* the other way round */
    {"unload", 0, "60", 1000, 0},
    {"load", 0, "60", 500, 0},
    {"unload", 0, "60", 500, 0}, /* nobody is in the way */
};

struct ctl {
	char *path, *module, *name;
	size_t next;
	pid_t pid;
	uint64_t not_before;
	unsigned done, again;
};

static bool ctl_look(struct ctl *c, uint64_t steps)
{
	const struct action *a = &script[c->next];
	char number[16], log[] = "/dev/null";
	int status;

	if (c->pid) {
		if (waitpid(c->pid, &status, WNOHANG) != c->pid)
			return false;
		c->pid = 0;
		helper_end();
		/* On a loaded machine a transition may take longer: the same command resumes it. */
		if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_PENDING && !a->want && c->again++ < MAX_AGAIN)
			return true;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != a->want) {
			fprintf(stderr, "klpctl %s: status %#x, expected exit %d\n", a->verb, (unsigned)status,
				a->want);
			die("klpctl");
		}
		c->again = 0;
		c->done++;
		c->not_before = steps + a->steps;
		c->next = (c->next + 1) % (sizeof(script) / sizeof(script[0]));
		return true;
	}
	if (steps < c->not_before)
		return false;
	if (a->inside >= 0 && page->inside != (uint32_t)a->inside)
		page->inside = (uint32_t)a->inside;
	if (page->is_inside != page->inside)
		return false;
	snprintf(number, sizeof(number), "%d", target);
	c->pid = spawn((char *[]){c->path, (char *)(uintptr_t)a->verb, "-p", number, "--timeout",
				  (char *)(uintptr_t)a->timeout, strcmp(a->verb, "load") ? c->name : c->module, NULL},
		       log);
	helper_begin(target);
	return false;
}

static bool wait_for_target(struct ctl *c)
{
	double began = seconds();
	int status;

	while (__atomic_load_n(&page->turn, __ATOMIC_SEQ_CST) != CROSSING_ASKS) {
		struct timespec some = {0, 100000000};

		syscall(SYS_futex, &page->turn, FUTEX_WAIT, CROSSING_RUNS, &some, NULL, 0);
		if (waitpid(target, &status, WNOHANG) == target) {
			target = 0;
			fprintf(stderr, "status %#x after %" PRIu64 " steps, pc %#llx\n", (unsigned)status,
				verdicts.steps, (unsigned long long)page->reg[REG_RIP]);
			die("the target has ended");
		}
		if (seconds() - began > LOST_S)
			die(c->pid ? "the target hangs in a klpctl" : "the target hangs");
	}
	return true;
}

static pid_t start(char *path)
{
	int fd = memfd_create("crossing", 0);
	char number[16];
	pid_t pid;

	if (fd < 0 || ftruncate(fd, sizeof(*page)))
		die("memfd");
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		die("mmap");
	snprintf(number, sizeof(number), "%d", fd);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(path, path, number, (char *)NULL);
		_exit(127);
	}
	close(fd);
	return pid;
}

static int report(const char *row, double took, unsigned done)
{
	struct helper_result h = helper_result();
	bool missing = false;

	verdict_print(&verdicts);
	printf("  %u commands of klpctl, tables built %" PRIu64 " times, %" PRIu64 " steps without, %" PRIu64
	       " in a transition, %" PRIu64 " jumps out of handlers\n",
	       done, tables, no_tables, in_transition, jumps);
	for (unsigned r = 0; r < REGIONS; r++) {
		unsigned places = 0;

		for (unsigned i = 0; i < KLP_RT_TEXT_SIZE; i++)
			places += seen[r][i];
		printf("  %s: %" PRIu64 " steps, ", region_name[r], crossed[r]);
		if (r >= SITE && r <= DISPATCH)
			printf("%u instructions, ", places);
		printf("signals on its stack %" PRIu64 ", on the alternate one %" PRIu64 "\n", signals[r][1],
		       signals[r][0]);
		missing |= !crossed[r] || (r >= SITE && r <= DISPATCH && (!signals[r][0] || !signals[r][1]));
	}
	printf("  %" PRIu64 " steps in a site between its two stores\n", half_armed);
	printf("  helper: %" PRIu64 " steps, %" PRIu64 " reliable\n", h.steps, h.reliable);
	if (row)
		verdict_row(&verdicts, row, took);
	if (missing || !in_transition)
		printf("a region was not crossed\n");
	return missing || !in_transition || verdicts.wrong || h.reliable || !h.steps ||
	       done < sizeof(script) / sizeof(script[0]);
}

int main(int argc, char **argv)
{
	const char *row = NULL;
	struct state was = {0};
	struct ctl ctl = {0};
	struct test_space space;
	uint64_t limit;
	double began;
	int i = 1, rc;

	for (; i < argc && argv[i][0] == '-'; i++)
		if (!strcmp(argv[i], "--row") && i + 1 < argc)
			row = argv[++i];
		else
			return 2;
	if (argc - i != 5)
		return 2;
	limit = strtoull(argv[i], NULL, 10);
	ctl = (struct ctl){.path = argv[i + 1], .module = argv[i + 3], .name = argv[i + 4], .not_before = 1000};
	target = start(argv[i + 2]);
	memory_open(&memory, target);
	wait_for_target(&ctl);
	test_space_build(target, &space, false);
	start_stack = space.start_stack;
	test_space_free(&space);
	began = seconds();
	for (uint64_t n = 0; n < limit || ctl.pid || ctl.next || !ctl.done; n++) {
		bool force = n % CTL_EVERY == 0 && ctl_look(&ctl, n);

		/* Until the runtime is found there is nothing to look at. */
		force |= ctl.pid && !session.r.image && (n % CTL_EVERY == 0 || last_reason == KLP_UNW_NO_MODULE);

		wait_for_target(&ctl);
		step(&was, force);
		if (ctl.pid)
			rest((unsigned)n);
		__atomic_store_n(&page->turn, CROSSING_RUNS, __ATOMIC_SEQ_CST);
		syscall(SYS_futex, &page->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
	kill(target, SIGKILL);
	waitpid(target, NULL, 0);
	rc = report(row, seconds() - began, ctl.done);
	forget_session();
	memory_close(&memory);
	shadow_free(&shadow);
	return rc;
}
