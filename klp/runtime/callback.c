/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A patch's callback, on a borrowed thread of the program with its own stack and thread-local storage. It is the only
 * place where klp has a thread of the program run code of the patch's author outside of a call that it makes itself.
 */
#include "klp/runtime/rt.h"

#pragma GCC poison malloc calloc realloc free printf fprintf memcpy memset errno

void klp_rt_callback_run(struct klp_rt_cb *cb);

/* Signals are blocked. The last store tells the engine, or the next one, that everything that the callback did is done.
 */
void klp_rt_callback_run(struct klp_rt_cb *cb)
{
	struct klp_rt_callback *c = &cb->callback;

	__atomic_store_n(&c->state, KLP_RT_CALLBACK_RUNS, __ATOMIC_RELEASE);
	c->result = ((int (*)(void))c->fn)();
	__atomic_store_n(&c->state, KLP_RT_CALLBACK_DONE, __ATOMIC_RELEASE);
}
