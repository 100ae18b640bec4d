/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/vacate.h"

#include <errno.h>
#include <stdlib.h>

#include "klp/clock.h"
#include "klp/running.h"

#define KLP_SWEEP_PAUSE_NS 2000000ull

struct klp_leaver {
	pid_t tid;
	bool out;
	bool maker; /* it may have been inside when it made another thread: listed first, or seen there */
	struct klp_running running;
};

struct klp_vacate_run {
	struct klp_session *s;
	const struct klp_range *range;
	size_t range_count;
	struct klp_proof *proof;
	struct klp_leaver *list; /* by tid */
	size_t count;
	struct klp_leaver *looked;
	uint64_t left_ticks; /* when the last maker had been seen outside (klp_task_start), 0: not yet */
};

static void klp_vacate_look(void *ctx, pid_t tid, const struct klp_unw_regs *regs, uint64_t thread_pointer)
{
	struct klp_vacate_run *run = ctx;

	klp_prove_registers(run->s, tid, regs, thread_pointer, run->range, run->range_count, run->proof);
	run->looked->out = run->proof->verdict == KLP_OK;
}

static int klp_vacate_thread(struct klp_vacate_run *run, struct klp_leaver *l, struct klp_error *e)
{
	enum klp_running_way way;
	int rc;

	klp_prove_blocked(run->s, l->tid, run->range, run->range_count, run->proof);
	if (run->proof->gone || run->proof->kernel_made || run->proof->verdict == KLP_OK) {
		l->out = true;
		return 0;
	}
	if (!run->proof->running) {
		klp_running_rests(&l->running);
		return 0;
	}
	way = klp_running_look(run->s, l->tid, &l->running, run->range, run->range_count, run->proof);
	if (way == KLP_RUNNING_PICTURED)
		l->out = run->proof->verdict == KLP_OK;
	if (way != KLP_RUNNING_INTERRUPT)
		return 0;
	run->looked = l;
	rc = klp_remote_interrupt(&run->s->r, l->tid, klp_vacate_look, run, e);
	return rc < 0 && rc != -ESRCH && rc != -EBUSY && rc != -EPERM ? rc : 0;
}

static int klp_leaver_compare(const void *a, const void *b)
{
	pid_t x = ((const struct klp_leaver *)a)->tid, y = ((const struct klp_leaver *)b)->tid;

	return (x > y) - (x < y);
}

/* A thread that was born when every maker was outside was made outside. In doubt (the tick of the last one's look) it
 * is older. */
static bool klp_leaver_is_younger(const struct klp_vacate_run *run, pid_t tid)
{
	uint64_t ticks;

	return run->left_ticks && !klp_task_start(&run->s->p, tid, &ticks) && ticks > run->left_ticks;
}

/* Who is there now; what is known of those who were there before is kept. *fresh: how many must be looked at that were
 * not listed before. */
static int klp_vacate_list(struct klp_vacate_run *run, size_t *fresh, struct klp_error *e)
{
	struct klp_leaver *list;
	pid_t *tid = NULL;
	size_t n = 0;
	int rc = klp_process_tids(&run->s->p, &tid, &n, e);

	*fresh = 0;
	if (rc)
		return rc;
	list = calloc(n + 1, sizeof(*list));
	if (!list) {
		free(tid);
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the thread list");
	}
	for (size_t i = 0; i < n; i++) {
		struct klp_leaver key = {.tid = tid[i]}, *known = NULL;

		if (run->count)
			known = bsearch(&key, run->list, run->count, sizeof(key), klp_leaver_compare);
		list[i] = known ? *known : key;
		if (known)
			continue;
		list[i].out = tid[i] == run->s->r.helper || klp_leaver_is_younger(run, tid[i]);
		list[i].maker = !run->list;
		*fresh += !list[i].out;
	}
	free(tid);
	free(run->list);
	run->list = list;
	run->count = n;
	qsort(list, n, sizeof(*list), klp_leaver_compare);
	return 0;
}

/* One look at everybody who has not been seen outside. */
static int klp_vacate_round(struct klp_vacate_run *run, size_t *waiting, struct klp_error *e)
{
	bool inside = false;
	int rc = 0;

	klp_running_round(run->s, run->count);
	for (size_t i = 0; i < run->count && !rc; i++) {
		if (run->list[i].out)
			continue;
		rc = klp_vacate_thread(run, &run->list[i], e);
		if (run->proof->verdict == KLP_ON_STACK)
			run->list[i].maker = true;
	}
	if (!rc)
		rc = klp_tables_renew(run->s, e);
	if (rc == 1) {
		for (size_t i = 0; i < run->count; i++) {
			run->list[i].out = run->list[i].tid == run->s->r.helper;
			run->list[i].maker = true;
		}
		rc = 0;
	}
	*waiting = 0;
	for (size_t i = 0; i < run->count; i++) {
		*waiting += !run->list[i].out;
		inside |= run->list[i].maker && !run->list[i].out;
	}
	if (inside)
		run->left_ticks = 0;
	else if (!run->left_ticks)
		run->left_ticks = klp_clock_ticks();
	return rc;
}

static int klp_vacate_wait(struct klp_vacate_run *run, uint64_t deadline, size_t *waiting, struct klp_error *e)
{
	size_t fresh;
	int rc = klp_vacate_list(run, &fresh, e);

	while (!rc) {
		rc = klp_vacate_round(run, waiting, e);
		if (!rc)
			rc = klp_vacate_list(run, &fresh, e);
		if (rc)
			break;
		if (!*waiting && !fresh)
			return 0;
		*waiting += fresh;
		if (klp_clock_now() >= deadline)
			return 0;
		klp_clock_sleep(KLP_SWEEP_PAUSE_NS);
		rc = klp_remote_ping(&run->s->r, e);
	}
	return rc;
}

int klp_vacate(struct klp_session *s, const struct klp_range *range, size_t range_count, unsigned wait_ms,
	       size_t *waiting, struct klp_error *e)
{
	struct klp_vacate_run run = {.s = s, .range = range, .range_count = range_count};
	uint64_t deadline = klp_clock_now() + (uint64_t)wait_ms * 1000000ull;
	int rc = 0;

	*waiting = 0;
	run.proof = malloc(sizeof(*run.proof));
	if (!run.proof)
		rc = klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for a stack trace");
	if (!rc)
		rc = klp_tables_build(s, e);
	if (!rc)
		rc = klp_vacate_wait(&run, deadline, waiting, e);
	free(run.proof);
	free(run.list);
	return rc;
}
