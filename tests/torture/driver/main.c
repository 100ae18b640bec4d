/* SPDX-License-Identifier: Apache-2.0 */
#include "driver.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PHASE_STEPS 24 /* calm or storm changes */
#define PROGRESS_STEPS 32

struct torture torture = {.phase = -1};
static const char *const all_kinds[2] = {"rrrfffeeesssiiixxhkbvcowppgggjj", "rrrfffeeesssiiixxhkbvcowppgggjju"};

static struct module modules[MODULES] = {
    {"a2", NULL, {2, 0, 0, 0, 0}, 0},   {"b3", NULL, {0, 3, 0, 0, 0}, 0},  {"c4", NULL, {0, 0, 4, 0, 0}, 0},
    {"l2", NULL, {0, 0, 0, 2, 0}, 0},   {"ab5", NULL, {5, 5, 0, 0, 0}, 0}, {"a3", NULL, {3, 0, 0, 0, 0}, 0},
    {"abc6", NULL, {6, 6, 6, 0, 0}, 0}, {"l7", NULL, {0, 0, 0, 7, 0}, 0},  {"p2", NULL, {0, 0, 0, 0, 2}, 0},
    {"p7", NULL, {0, 0, 0, 0, 7}, 0},   {"ap4", NULL, {4, 0, 0, 0, 4}, 0},
};

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

uint64_t draw(uint64_t bound)
{
	return mix(mix(torture.seed ^ mix(torture.step)) + torture.draws++) % bound;
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

void sleep_us(uint64_t us)
{
	struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	fflush(stdout);
}

static void summary(void)
{
	const struct torture_shared *s = torture.shared;
	uint64_t ms = (now_ns() - torture.began_ns) / 1000000;

	if (!s)
		return;
	say("seed %lu: %lu steps in %lu.%lu s; %lu transitions (%lu reversals, %lu complete), %lu tools, %lu killed, "
	    "%lu held, %lu looks\n",
	    torture.seed, torture.step, ms / 1000, ms % 1000 / 100, torture.transitions, torture.reversals,
	    torture.completed, torture.tools, torture.kills, torture.holds, torture.looks);
	say("exit 5: %lu (%lu without an answer in time), busy: %lu; threads stopped %lu, longest stop %lu us\n",
	    torture.pending_exits, torture.late, torture.busy_exits, torture.stopped_threads, torture.longest_stop_us);
	say("target: %lu forks, %lu execs, %lu births, %lu signals, %lu jumps, %lu mappings, %lu transfers, "
	    "%lu openings\n",
	    s->forks, s->execs, s->births, s->signals, s->jumps, s->mappings, s->transfers, s->openings);
	say("plug-in: %lu tools under which it came or went, %lu that met another there, %lu watches; forced: %lu, by "
	    "which mixed %lu, wrong %lu\n",
	    torture.moved_under, torture.met_another, torture.watches, torture.forces, torture.mixed_by_force,
	    torture.wrong_by_force);
	say("mixed %lu, wrong %lu, EINTR %lu, cut short %lu, early %lu, broken %lu, early returns %lu\n",
	    s->mixed - torture.mixed_by_force, s->wrong - torture.wrong_by_force, s->eintr, s->brief, s->early,
	    s->broken, torture.early_returns);
}

void fail(const char *fmt, ...)
{
	const struct torture_shared *s = torture.shared;
	va_list ap;

	say("FAILED in step %lu: ", torture.step);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	say("\n");
	summary();
	for (unsigned i = 0; s && i < TORTURE_REPORTS && i < s->reported; i++) {
		const struct torture_report *r = &s->report[i];

		say("  process %u thread %u (kind %u%s): group %c, version %u on its stack, version %u entered, place "
		    "%u\n",
		    r->pid, r->tid, r->kind, r->child ? ", child" : "", GROUP_LETTERS[r->group % TORTURE_GROUPS],
		    r->outer, r->inner, r->where);
	}
	say("replay: --seed %lu --first %lu --steps 200\n", torture.seed, torture.step > 20 ? torture.step - 20 : 0);
	if (torture.pid > 0 && torture.keep) {
		say("the target %d is kept until this process ends\n", torture.pid);
		pause();
	}
	if (torture.pid > 0) {
		kill(torture.pid, SIGKILL);
		waitpid(torture.pid, NULL, 0);
	}
	exit(1);
}

static void usage(void)
{
	fputs("usage: torture_driver --dir DIR --klpctl FILE [--seed N] [--first STEP] [--steps N | --transitions N | "
	      "--seconds S]\n"
	      "                      [--phase calm|storm] [--kinds LETTERS] [--only ACTION,...] [--keep] [--verbose]\n"
	      "actions: toggle replace kill short hold two look plugin force\n"
	      "kinds: a thread each that blocks in r read, f futex, e epoll_wait, s sleep, i idleness; x recurses; h "
	      "is held\n"
	      "       (action hold); k forks; v vforks; b bears threads; c maps and unmaps; o opens and closes the "
	      "plug-in\n"
	      "       (action plugin); w writes; p spins; g takes signals; j jumps; and u: hides the tid\n",
	      stderr);
	exit(2);
}

static uint64_t number(const char *text)
{
	char *end;
	unsigned long long v = strtoull(text, &end, 0);

	if (!*text || *end || *text == '-')
		usage();
	return v;
}

static void only(char *list)
{
	memset(torture.weight, 0, sizeof(torture.weight));
	for (char *save = NULL, *p = strtok_r(list, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
		unsigned a = 0;

		while (a < ACTIONS && strcmp(p, action_name((enum action)a)))
			a++;
		if (a == ACTIONS)
			usage();
		torture.weight[a] = 10;
	}
}

static enum action draw_action(void)
{
	uint64_t all = 0, at;
	unsigned a = 0;

	for (unsigned i = 0; i < ACTIONS; i++)
		all += torture.weight[i];
	for (at = draw(all); at >= torture.weight[a]; a++)
		at -= torture.weight[a];
	return (enum action)a;
}

static void phase(void)
{
	uint32_t mode = torture.phase >= 0                                   ? (uint32_t)torture.phase
			: mix(torture.seed + torture.step / PHASE_STEPS) % 3 ? TORTURE_CALM
									     : TORTURE_STORM;

	if (torture.shared->mode == mode)
		return;
	if (torture.verbose)
		say("-- %s\n", mode == TORTURE_STORM ? "storm" : "calm");
	target_mode(mode);
}

int main(int argc, char **argv)
{
	static const struct option option[] = {
	    {"dir", required_argument, NULL, 'd'},
	    {"klpctl", required_argument, NULL, 'c'},
	    {"seed", required_argument, NULL, 's'},
	    {"first", required_argument, NULL, 'f'},
	    {"steps", required_argument, NULL, 'n'},
	    {"transitions", required_argument, NULL, 't'},
	    {"seconds", required_argument, NULL, 'S'},
	    {"phase", required_argument, NULL, 'p'},
	    {"kinds", required_argument, NULL, 'k'},
	    {"only", required_argument, NULL, 'o'},
	    {"keep", no_argument, NULL, 'K'},
	    {"verbose", no_argument, NULL, 'v'},
	    {NULL, 0, NULL, 0},
	};
	uint64_t first = 0, steps = UINT64_MAX, transitions = UINT64_MAX, seconds = UINT64_MAX, next_word;
	static const unsigned weight[ACTIONS] = {30, 8, 20, 14, 8, 10, 8, 12, 6};
	int opt;

	torture.seed = mix(now_ns() ^ (uint64_t)getpid()) % 1000000000;
	memcpy(torture.module, modules, sizeof(modules));
	memcpy(torture.weight, weight, sizeof(weight));
	while ((opt = getopt_long(argc, argv, "", option, NULL)) != -1) {
		switch (opt) {
		case 'd':
			torture.dir = optarg;
			break;
		case 'c':
			torture.klpctl = optarg;
			break;
		case 's':
			torture.seed = number(optarg);
			break;
		case 'f':
			first = number(optarg);
			break;
		case 'n':
			steps = number(optarg);
			break;
		case 't':
			transitions = number(optarg);
			break;
		case 'S':
			seconds = number(optarg);
			break;
		case 'p':
			torture.phase = !strcmp(optarg, "storm") ? TORTURE_STORM : TORTURE_CALM;
			break;
		case 'k':
			torture.kinds = optarg;
			break;
		case 'o':
			only(optarg);
			break;
		case 'K':
			torture.keep = true;
			break;
		case 'v':
			torture.verbose = true;
			break;
		default:
			usage();
		}
	}
	if (!torture.dir || !torture.klpctl || optind != argc)
		usage();
	if (!torture.kinds)
		torture.kinds = all_kinds[mix(torture.seed) % 2];
	if (!strchr(torture.kinds, 'h')) /* nobody would hold */
		torture.weight[ACT_HOLD] = 0;
	if (!strchr(torture.kinds, 'o')) /* nor open and close */
		torture.weight[ACT_PLUGIN] = 0;
	if (steps == UINT64_MAX && transitions == UINT64_MAX && seconds == UINT64_MAX)
		seconds = 60;
	for (unsigned i = 0; i < MODULES; i++) {
		char *file;

		if (asprintf(&file, "%s/modules/%s.klp", torture.dir, modules[i].name) < 0 || access(file, R_OK))
			fail("module %s is not built", modules[i].name);
		torture.module[i].file = file;
	}
	say("seed %lu, threads %s\n", torture.seed, torture.kinds);
	torture.step = first;
	torture.began_ns = now_ns();
	life_begin();
	target_begin();
	next_word = torture.began_ns + 30000000000ull;
	for (; torture.step < first + steps && torture.transitions < transitions; torture.step++) {
		enum action a;

		if (now_ns() - torture.began_ns > seconds * 1000000000ull)
			break;
		torture.draws = 0;
		phase();
		model_check(torture.step % 4 == 0);
		a = draw_action();
		if (torture.verbose)
			say("-- step %lu: %s\n", torture.step, action_name(a));
		act(a);
		target_check();
		model_settled();
		if (torture.step % PROGRESS_STEPS == PROGRESS_STEPS - 1)
			target_progress();
		if (now_ns() > next_word) {
			say("step %lu, %lu transitions, %lu kills\n", torture.step, torture.transitions, torture.kills);
			next_word += 30000000000ull;
		}
	}
	torture.draws = 0;
	model_check(true);
	life_end();
	target_happened();
	if (!torture.completed)
		fail("no transition has been completed: this run shows nothing");
	if (torture.weight[ACT_HOLD] && !torture.holds && torture.step > first + 50)
		fail("no thread has been held inside: this run shows nothing");
	if (torture.weight[ACT_PLUGIN] && !torture.moved_under && torture.step > first + 50)
		fail("the plug-in has not come or gone under any tool: this run shows nothing");
	if (torture.weight[ACT_FORCE] && !torture.forces && torture.step > first + 100)
		fail("nothing has been forced: this run shows nothing");
	summary();
	return 0;
}
