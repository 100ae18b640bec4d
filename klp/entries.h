/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of the thread table whose threads are no more (invariant T2). A thread that ended before it moved leaves an
 * entry of the universe that is left, and so does one that was born and ended between two listings, or was told another
 * target before a reversal. The kernel gives its tid to a new thread sooner or later: that one is clean, but its
 * dispatch finds this entry, and it would begin where the dead one was. Private to klp/.
 */
#ifndef KLP_ENTRIES_H
#define KLP_ENTRIES_H

#include "klp/movers.h"

/*
 * To be called when everybody in the run's list has moved, and before the transition is completed. 0: whoever has the
 * tid of an entry that has not arrived, or will have it, begins in the target universe, by a verdict for the count that
 * the entry had when nobody had its tid. -EAGAIN: somebody has it already, and is to be listed and proven.
 */
int klp_entries_settle(struct klp_run *run, struct klp_error *e);

#endif
