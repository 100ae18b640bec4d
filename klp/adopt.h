/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tool's first change of a fork's child, whose control block is a copy of its parent's (invariant T2, hazard A9).
 * While that block names the parent, a thread that dispatches goes by the entry that it had in the parent, found by its
 * thread pointer (klp/runtime/dispatch.c: enter_child). As soon as it names the child, a thread without an entry of its
 * own is a new one. So the thread that forked, which has the pid for its tid, is given its entry before that: with the
 * universe in which its parent's thread was, for frames of that universe may be on its stack. Private to klp/.
 */
#ifndef KLP_ADOPT_H
#define KLP_ADOPT_H

#include "klp/session.h"

/* s->r.adopted, the helper is there and s->cb is read. -EAGAIN/KLP_PENDING: a transition is in flight and the thread
 * has not been seen waiting in a system call. */
int klp_adopt(struct klp_session *s, struct klp_error *e);

#endif
