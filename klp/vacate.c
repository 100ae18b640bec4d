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
	struct klp_running running;
};

struct klp_vacate_run {
	struct klp_session *s;
	const struct klp_range *range;
	size_t range_count;
	struct klp_proof *proof;
	struct klp_leaver *looked;
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

int klp_vacate(struct klp_session *s, const struct klp_range *range, size_t range_count, unsigned wait_ms,
	       size_t *waiting, struct klp_error *e)
{
	struct klp_vacate_run run = {.s = s, .range = range, .range_count = range_count};
	uint64_t deadline = klp_clock_now() + (uint64_t)wait_ms * 1000000ull;
	struct klp_leaver *list;
	pid_t *tid = NULL;
	size_t n = 0;
	int rc = klp_process_tids(&s->p, &tid, &n, e);

	*waiting = 0;
	if (rc)
		return rc;
	list = calloc(n + 1, sizeof(*list));
	run.proof = malloc(sizeof(*run.proof));
	if (!list || !run.proof) {
		rc = klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the thread list");
		goto out;
	}
	for (size_t i = 0; i < n; i++) {
		list[i].tid = tid[i];
		list[i].out = tid[i] == s->r.helper;
	}
	rc = klp_tables_build(s, e);
	while (!rc) {
		*waiting = 0;
		klp_running_round(s, n);
		for (size_t i = 0; i < n && !rc; i++) {
			if (!list[i].out)
				rc = klp_vacate_thread(&run, &list[i], e);
			if (!list[i].out)
				(*waiting)++;
		}
		if (!rc)
			rc = klp_tables_renew(s, e);
		for (size_t i = 0; rc == 1 && i < n; i++) {
			list[i].out = list[i].tid == s->r.helper;
			*waiting = n;
		}
		rc = rc == 1 ? 0 : rc;
		if (rc || !*waiting || klp_clock_now() >= deadline)
			break;
		klp_clock_sleep(KLP_SWEEP_PAUSE_NS);
		rc = klp_remote_ping(&s->r, e);
	}
out:
	free(run.proof);
	free(list);
	free(tid);
	return rc;
}
