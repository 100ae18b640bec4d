/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazard B2: the engine dies while a thread waits at its door. klp_prove_registers is replaced, which reads the stack
 * of who waits: the process that loads kills itself there, with the door open. That costs the thread one wait, and the
 * threads' further calls nothing: they make about as many as when a living engine has closed the door. Interruptions
 * are replaced too, so that running threads have no other way but the door. usage: B02_door TARGET MODULE
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "klp/proof.h"
#include "on_target.h"

#define MEASURED_MS 400u
#define SLOWER 50u /* the calls of a thread that waits each time are a thousand times fewer */

static struct {
	uint64_t threads; /* address of the thread table */
} * talk;
static bool dies, refuses;
static struct klp_rt_thread before[KLP_MAX_THREADS], now[KLP_MAX_THREADS];
static uint64_t abandoned[KLP_MAX_THREADS];

void __real_klp_prove_registers(struct klp_session *s, pid_t tid, const struct klp_unw_regs *regs,
				uint64_t thread_pointer, const struct klp_range *range, size_t count,
				struct klp_proof *out);
void __wrap_klp_prove_registers(struct klp_session *s, pid_t tid, const struct klp_unw_regs *regs,
				uint64_t thread_pointer, const struct klp_range *range, size_t count,
				struct klp_proof *out);

void __wrap_klp_prove_registers(struct klp_session *s, pid_t tid, const struct klp_unw_regs *regs,
				uint64_t thread_pointer, const struct klp_range *range, size_t count,
				struct klp_proof *out)
{
	if (dies) {
		talk->threads = s->r.cb + offsetof(struct klp_rt_cb, threads);
		raise(SIGKILL);
	}
	__real_klp_prove_registers(s, tid, regs, thread_pointer, range, count, out);
	if (refuses)
		out->verdict = KLP_ON_STACK;
}

/* Entries of each thread into patched functions while it is measured: now[].count - before[].count. */
static void measure(const struct klp_process *p)
{
	struct klp_error e = KLP_ERROR_INIT;

	check(!klp_process_read(p, talk->threads, before, sizeof(before), &e), "read: %s", e.text);
	sleep_ms(MEASURED_MS);
	check(!klp_process_read(p, talk->threads, now, sizeof(now), &e), "read: %s", e.text);
}

static int load(const struct on_target *t, unsigned timeout_ms, struct klp_error *e)
{
	const struct klp_options opt = {.timeout_ms = timeout_ms, .no_samples = true};
	json_t *result = NULL;
	int rc = klp_load(t->pid, t->module, &opt, &result, e);

	json_decref(result);
	return rc;
}

static void load_and_die(const struct on_target *t)
{
	struct klp_error e = KLP_ERROR_INIT;
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		dies = true;
		load(t, 20000, &e);
		_exit(1);
	}
	check(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
	      "nobody came to the door: status %x", (unsigned)status);
}

int main(int argc, char **argv)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct on_target t = {0};
	struct klp_process p;
	unsigned threads = 0;
	int rc;

	talk = shared(sizeof(*talk));
	rc = on_target_begin(argc, argv, &t);
	if (rc)
		return rc;
	check(write(t.in, "pairs 2\n", 8) == 8, "the target does not listen");
	sleep_ms(200);
	load_and_die(&t);
	check(!klp_process_open(t.pid, &p, &e), "open: %s", e.text);
	measure(&p);
	for (size_t i = 0; i < KLP_MAX_THREADS; i++)
		abandoned[i] = now[i].count - before[i].count;
	refuses = true;
	rc = load(&t, 500, &e);
	check(rc == -EAGAIN && e.reason == KLP_PENDING, "load: %d %s, expected it to be pending", rc, e.text);
	measure(&p);
	klp_process_close(&p);
	for (size_t i = 0; i < KLP_MAX_THREADS; i++) {
		uint64_t closed = now[i].count - before[i].count;

		if (closed < 1000) /* it makes other calls */
			continue;
		threads++;
		printf("thread %u: %lu entries with the door left open, %lu with the door closed\n", now[i].tid,
		       abandoned[i], closed);
		check(abandoned[i] >= closed / SLOWER, "thread %u is held up at the door of a dead engine", now[i].tid);
	}
	check(threads >= 2, "%u threads call", threads);
	refuses = false;
	rc = load(&t, 60000, &e);
	check(!rc, "load: %s", e.text);
	return on_target_end(&t);
}
