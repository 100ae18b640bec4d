/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazard A10: a thread leaves the door while its stack is being read. klp_prove_registers is replaced, which reads it:
 * it returns only when the thread, whose patience is short, has left this dispatch. What was read may then be of any
 * moment, and no verdict may be stored. Interruptions are replaced too, so that running threads have no other way but
 * the door; with the real look they move. usage: A10_door TARGET MODULE
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "klp/proof.h"
#include "on_target.h"

#define LEAVES_MS 5000u /* on a loaded machine */

static bool hold;                    /* until the thread has left */
static uint64_t threads;             /* address of the thread table, once known */
static unsigned left, late, in_time; /* threads that left; verdicts stored behind that; others */
static uint32_t left_tid;            /* who left in the look before, 0 nobody */

void __real_klp_prove_registers(struct klp_session *s, pid_t tid, const struct klp_unw_regs *regs,
				uint64_t thread_pointer, const struct klp_range *range, size_t count,
				struct klp_proof *out);
void __wrap_klp_prove_registers(struct klp_session *s, pid_t tid, const struct klp_unw_regs *regs,
				uint64_t thread_pointer, const struct klp_range *range, size_t count,
				struct klp_proof *out);
int __real_klp_process_write(const struct klp_process *p, uint64_t addr, const void *buf, size_t len,
			     struct klp_error *e);
int __wrap_klp_process_write(const struct klp_process *p, uint64_t addr, const void *buf, size_t len,
			     struct klp_error *e);

static bool entry_of(const struct klp_session *s, pid_t tid, struct klp_rt_thread *t)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint32_t i = KLP_THREAD_HASH((uint32_t)tid);

	threads = s->r.cb + offsetof(struct klp_rt_cb, threads);
	for (unsigned n = 0; n < KLP_MAX_THREADS; n++, i = (i + 1) & (KLP_MAX_THREADS - 1)) {
		if (klp_process_read(&s->p, threads + i * sizeof(*t), t, sizeof(*t), &ignored) || !t->tid)
			return false;
		if (t->tid == (uint32_t)tid)
			return true;
	}
	return false;
}

void __wrap_klp_prove_registers(struct klp_session *s, pid_t tid, const struct klp_unw_regs *regs,
				uint64_t thread_pointer, const struct klp_range *range, size_t count,
				struct klp_proof *out)
{
	struct klp_rt_thread before, now;
	uint64_t until = now_ns() + LEAVES_MS * 1000000ull;

	left_tid = 0;
	__real_klp_prove_registers(s, tid, regs, thread_pointer, range, count, out);
	if (!hold || !entry_of(s, tid, &before))
		return;
	/* Its count says so when it is in the next dispatch; its mark when it is outside. */
	do {
		if (!entry_of(s, tid, &now))
			return;
	} while (now.in_sp && now.count == before.count && now_ns() < until);
	check(!now.in_sp || now.count != before.count, "the thread does not leave the door");
	left++;
	left_tid = (uint32_t)tid;
}

int __wrap_klp_process_write(const struct klp_process *p, uint64_t addr, const void *buf, size_t len,
			     struct klp_error *e)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_rt_thread t;

	if (threads && addr >= threads && addr - threads < KLP_MAX_THREADS * sizeof(t) &&
	    (addr - threads) % sizeof(t) == offsetof(struct klp_rt_thread, verdict)) {
		if (!klp_process_read(p, addr - offsetof(struct klp_rt_thread, verdict), &t, sizeof(t), &ignored) &&
		    t.tid == left_tid)
			late++;
		else
			in_time++;
	}
	return __real_klp_process_write(p, addr, buf, len, e);
}

int main(int argc, char **argv)
{
	struct klp_options opt = {.timeout_ms = 2000};
	struct klp_error e = KLP_ERROR_INIT;
	json_t *result = NULL;
	struct on_target t = {0};
	int rc;

	rc = on_target_begin(argc, argv, &t);
	if (rc)
		return rc;
	check(write(t.in, "pairs 2\n", 8) == 8, "the target does not listen");
	sleep_ms(200);
	hold = true;
	rc = klp_load(t.pid, t.module, &opt, &result, &e);
	json_decref(result);
	check(rc == -EAGAIN && e.reason == KLP_PENDING, "load: %d %s, expected it to be pending", rc, e.text);
	check(left > 0, "nobody was at the door");
	check(!late, "%u of %u verdicts were stored for threads that had left the door", late, left);
	printf("%u threads left the door\n", left);
	hold = false;
	left_tid = 0;
	opt.timeout_ms = 60000;
	result = NULL;
	rc = klp_load(t.pid, t.module, &opt, &result, &e);
	json_decref(result);
	check(!rc, "load: %s", e.text);
	check(in_time > 0, "nobody moved at the door");
	printf("%u verdicts at the door\n", in_time);
	return on_target_end(&t);
}
