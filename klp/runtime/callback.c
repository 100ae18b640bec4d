/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A patch's callback, on a borrowed thread of the program with its own stack and thread-local storage. It is the only
 * place where klp has a thread of the program run code of the patch's author outside of a call that it makes itself.
 */
#include "klp/runtime/rt.h"
#include "syscall.h"

#pragma GCC poison malloc calloc realloc free printf fprintf memcpy memset errno

#define CLOCK_MONOTONIC 1

void klp_rt_callback_run(struct klp_rt_cb *cb);

static int64_t now_ns(void)
{
	int64_t t[2] = {0, 0};

	if (klp_syscall2(KLP_NR_clock_gettime, CLOCK_MONOTONIC, (uint64_t)t))
		return 0;
	return t[0] * 1000000000 + t[1];
}

/* The thread's call begins anew: with what is left of its timeout by then, and not less. */
static void shorten(uint32_t *timeout, int64_t passed_ns)
{
	int64_t passed = passed_ns / 1000000;

	if (passed > 0)
		*timeout = passed < (int64_t)*timeout ? *timeout - (uint32_t)passed : 0;
}

static void shorten_parts(int64_t timeout[2], int64_t unit, int64_t passed_ns)
{
	int64_t passed = passed_ns / (1000000000 / unit), left;

	if (passed <= 0 || timeout[0] > INT32_MAX) /* of 68 years nothing passes */
		return;
	left = timeout[0] * unit + timeout[1] - passed;
	if (left < 0)
		left = 0;
	timeout[0] = left / unit;
	timeout[1] = left % unit;
}

/* Signals are blocked. The last store tells the engine, or the next one, that everything that the callback did is done.
 */
void klp_rt_callback_run(struct klp_rt_cb *cb)
{
	struct klp_rt_callback *c = &cb->callback;
	int64_t began;

	__atomic_store_n(&c->state, KLP_RT_CALLBACK_RUNS, __ATOMIC_RELEASE);
	began = c->timeout ? now_ns() : 0;
	c->result = ((int (*)(void))c->fn)();
	if (c->timeout && c->timeout_unit)
		shorten_parts((int64_t *)c->timeout, c->timeout_unit, now_ns() - began);
	else if (c->timeout)
		shorten((uint32_t *)c->timeout, now_ns() - began);
	__atomic_store_n(&c->state, KLP_RT_CALLBACK_DONE, __ATOMIC_RELEASE);
}
