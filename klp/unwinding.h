/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariant L3: C++ exceptions, pthread_cancel and backtrace() go through module frames. libgcc_s asks _Unwind_Find_FDE
 * for each frame, through the slot of its own procedure linkage table; while patches are loaded that slot leads to
 * klp's runtime (klp/runtime/unwinder.c), which knows the modules and asks the original for everything else.
 *
 * One aligned store in the target, made by the helper, switches the slot. A slot that the dynamic linker has not
 * resolved yet gets the original first, and klp's function only when no thread can be resolving it any more: that
 * thread would store the original over it. A slot that cannot be written (all of libgcc_s's are relocated read-only) is
 * left alone. Modules with handlers or cleanups of their own are refused there, and in processes without libgcc_s. A
 * libgcc_s that comes later (the C library opens it for the first pthread_cancel) is hooked by the next command that
 * loads, also by one that finds its patch loaded, and by `klpctl watch`. Private to klp/.
 */
#ifndef KLP_UNWINDING_H
#define KLP_UNWINDING_H

#include "klp/link.h"
#include "klp/session.h"

/* Tells of a module, whose segments are in place. */
int klp_unwinding_add(struct klp_session *s, unsigned index, const struct klp_linked *l, struct klp_error *e);
/* The op that takes it back: before its memory goes, when no frame of it is on any stack. */
void klp_unwinding_remove_op(const struct klp_session *s, unsigned index, struct klp_rt_op *op);

/* Hooks every libgcc_s that is not yet, or not any more. required: it is an error if one cannot be hooked. */
int klp_unwinding_hook(struct klp_session *s, bool required, struct klp_error *e);
/* Hooks what has come since the patches were loaded. That it cannot be done is said, and is no error: nothing is worse
 * than before. */
void klp_unwinding_late(struct klp_session *s);
/* A number that changes when unwinders come or go. */
uint64_t klp_unwinding_signature(const struct klp_process *p);
/* Gives the slots back. *any: there were some, so threads may still be in the runtime. */
int klp_unwinding_unhook(struct klp_session *s, bool *any, struct klp_error *e);

#endif
