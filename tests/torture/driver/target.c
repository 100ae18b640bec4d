/* SPDX-License-Identifier: Apache-2.0 */
#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAPS_MAX (1u << 18)

static uint32_t get(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void wake(const uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* The state of the target, when something must be explained. */
static void alive(void)
{
	int status;

	if (waitpid(torture.pid, &status, WNOHANG) != torture.pid)
		return;
	torture.pid = 0;
	if (WIFSIGNALED(status))
		fail("the target died of signal %d", WTERMSIG(status));
	fail("the target ended with status %d", WEXITSTATUS(status));
}

static void make_shared(void)
{
	struct torture_shared *s;

	torture.shared_fd = memfd_create("torture", MFD_CLOEXEC);
	if (torture.shared_fd < 0 || ftruncate(torture.shared_fd, sizeof(*s)))
		fail("memfd: %s", strerror(errno));
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, torture.shared_fd, 0);
	if (s == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	torture.shared = s;
}

/* Its counters go on where an earlier one's have ended. */
void target_start(void)
{
	struct torture_shared *s;
	uint64_t until = now_ns() + TARGET_HANG_S * 1000000000ull;
	char path[512];

	if (!torture.shared)
		make_shared();
	s = torture.shared;
	s->threads = s->parked = s->hold = s->held = s->order = s->plugin = 0;
	for (unsigned i = 0; i < TORTURE_WORKERS; i++)
		s->worker[i].tid = s->worker[i].order = 0;
	s->mode = TORTURE_CALM;
	snprintf(path, sizeof(path), "%s/target", torture.dir);
	torture.pid = fork();
	if (torture.pid < 0)
		fail("fork: %s", strerror(errno));
	if (!torture.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (chdir(torture.dir) || dup2(torture.shared_fd, TORTURE_FD) < 0)
			_exit(126);
		fcntl(TORTURE_FD, F_SETFD, 0); /* dup2 of a descriptor to itself keeps the flag */
		execl(path, "torture", torture.kinds, NULL);
		_exit(127);
	}
	while (!get(&s->threads)) {
		alive();
		if (now_ns() > until)
			fail("the target does not start");
		sleep_us(1000);
	}
}

void target_mode(uint32_t mode)
{
	struct torture_shared *s = torture.shared;
	uint64_t until = now_ns() + TARGET_HANG_S * 1000000000ull;

	__atomic_store_n(&s->mode, mode, __ATOMIC_RELEASE);
	wake(&s->mode);
	wake(&s->hold);
	while (mode == TORTURE_PARK && get(&s->parked) != get(&s->threads)) {
		alive();
		if (now_ns() > until)
			fail("only %u of %u threads park", get(&s->parked), get(&s->threads));
		sleep_us(1000);
		wake(&s->hold);
	}
}

void target_hold(int group)
{
	struct torture_shared *s = torture.shared;
	uint64_t until = now_ns() + TARGET_HANG_S * 1000000000ull;
	uint32_t want = group >= 0;

	__atomic_store_n(&s->hold, (uint32_t)(group + 1), __ATOMIC_RELEASE);
	wake(&s->hold);
	while (get(&s->held) != want) {
		alive();
		if (now_ns() > until)
			fail("the holder does not %s", want ? "hold" : "let go");
		sleep_us(200);
		wake(&s->hold);
	}
}

uint32_t target_plugin_phase(void)
{
	return get(&torture.shared->plugin);
}

void target_plugin(enum torture_plugin want, bool wait)
{
	struct torture_shared *s = torture.shared;
	uint64_t until = now_ns() + TARGET_HANG_S * 1000000000ull;
	uint32_t order = s->order - s->order % PHASE_COUNT + PHASE_COUNT + want;

	__atomic_store_n(&s->order, order, __ATOMIC_RELEASE);
	for (unsigned i = 0; wait && i < TORTURE_WORKERS; i++) {
		while (s->worker[i].kind == KIND_PLUGIN && get(&s->worker[i].order) != order) {
			alive();
			if (now_ns() > until)
				fail("the plug-in is not %s", want == PLUGIN_OPEN ? "opened" : "closed");
			sleep_us(200);
		}
	}
}

void target_check(void)
{
	const struct torture_shared *s = torture.shared;

	alive();
	if (!torture.forcing && s->mixed != torture.mixed_by_force)
		fail("%lu observations of two universes in one thread", s->mixed - torture.mixed_by_force);
	if (!torture.forcing && s->wrong != torture.wrong_by_force)
		fail("%lu wrong results", s->wrong - torture.wrong_by_force);
	if (s->eintr)
		fail("%lu calls ended with EINTR", s->eintr);
	if (s->brief)
		fail("%lu transfers were cut short", s->brief);
	if (s->early)
		fail("%lu waits ended early", s->early);
	if (s->broken)
		fail("%lu calls or children failed", s->broken);
	if (torture.early_returns)
		fail("klpctl reports %lu early returns", torture.early_returns);
}

void target_progress(void)
{
	const struct torture_shared *s = torture.shared;
	uint64_t rounds[TORTURE_WORKERS], until = now_ns() + TARGET_HANG_S * 1000000000ull;
	bool storm = get(&s->mode) == TORTURE_STORM;

	for (unsigned i = 0; i < TORTURE_WORKERS; i++)
		rounds[i] = s->worker[i].rounds;
	for (unsigned i = 0; i < TORTURE_WORKERS; i++) {
		const struct torture_worker *w = &s->worker[i];
		bool must = w->kind != KIND_HOLD && w->kind < KIND_WRITE && w->kind != KIND_SPAWN;

		must |= storm && (w->kind == KIND_SPAWN || (w->kind >= KIND_SPIN && w->kind <= KIND_JUMP));
		while (w->tid && must && __atomic_load_n(&w->rounds, __ATOMIC_RELAXED) == rounds[i]) {
			alive();
			if (now_ns() > until)
				fail("thread %u (kind %u) does not go on", w->tid, w->kind);
			sleep_us(500);
		}
	}
}

/* What a kind of thread is there for, and whether it does that in calm times too. */
static const struct {
	char kind;
	bool calm;
	size_t counter;
	const char *what;
} deed[] = {
    {'k', true, offsetof(struct torture_shared, forks), "fork"},
    {'v', true, offsetof(struct torture_shared, execs), "exec"},
    {'b', false, offsetof(struct torture_shared, births), "birth"},
    {'g', false, offsetof(struct torture_shared, signals), "signal"},
    {'j', false, offsetof(struct torture_shared, jumps), "jump"},
    {'c', true, offsetof(struct torture_shared, mappings), "mapping"},
    {'o', true, offsetof(struct torture_shared, openings), "opening"},
    {'w', true, offsetof(struct torture_shared, transfers), "transfer"},
};
static uint64_t done[sizeof(deed) / sizeof(deed[0])];

static uint64_t deeds(size_t i)
{
	const char *counter = (const char *)torture.shared + deed[i].counter;

	return __atomic_load_n((const uint64_t *)(const void *)counter, __ATOMIC_RELAXED);
}

void target_begin(void)
{
	for (size_t i = 0; i < sizeof(deed) / sizeof(deed[0]); i++)
		done[i] = deeds(i);
}

void target_happened(void)
{
	for (size_t i = 0; i < sizeof(deed) / sizeof(deed[0]); i++)
		if (strchr(torture.kinds, deed[i].kind) && (deed[i].kind != 'o' || torture.weight[ACT_PLUGIN]) &&
		    (deed[i].calm || torture.phase == TORTURE_STORM) && deeds(i) == done[i])
			fail("not one %s has happened: this run shows nothing about it", deed[i].what);
}

void target_stop(void)
{
	uint64_t until = now_ns() + TARGET_HANG_S * 1000000000ull;
	int status;

	target_mode(TORTURE_QUIT);
	while (waitpid(torture.pid, &status, WNOHANG) == 0) {
		if (now_ns() > until)
			fail("the target does not end");
		sleep_us(1000);
	}
	torture.pid = 0;
	if (status)
		fail("the target ended with wait status 0x%x", (unsigned)status);
}

/* Without the heap, which the program itself grows, and the kernel's own. */
char *target_maps(void)
{
	char path[64], *all = calloc(1, MAPS_MAX), line[1024];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", torture.pid);
	f = fopen(path, "re");
	if (!f || !all)
		fail("%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		if (strstr(line, "[heap]") || strstr(line, "[vvar") || strstr(line, "[vdso]") ||
		    strstr(line, "[vsyscall]"))
			continue;
		if (n + strlen(line) + 1 >= MAPS_MAX)
			fail("the target has too many mappings");
		strcpy(all + n, line);
		n += strlen(line);
	}
	fclose(f);
	return all;
}

/* What unloading must have put back. FNV-1a. */
uint64_t target_text(const char *list)
{
	static unsigned char page[4096];
	char *maps = strdup(list), *line, *save = NULL, path[64];
	uint64_t hash = 0xcbf29ce484222325ull;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", torture.pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || !maps)
		fail("%s: %s", path, strerror(errno));
	for (line = strtok_r(maps, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		uint64_t from, to;
		char perms[5];

		if (sscanf(line, "%lx-%lx %4s", &from, &to, perms) != 3 || perms[2] != 'x')
			continue;
		for (; from < to; from += sizeof(page)) {
			if (pread(fd, page, sizeof(page), (off_t)from) != (ssize_t)sizeof(page))
				fail("the text at %lx cannot be read", from);
			for (size_t i = 0; i < sizeof(page); i++)
				hash = (hash ^ page[i]) * 0x100000001b3ull;
		}
	}
	close(fd);
	free(maps);
	return hash;
}
