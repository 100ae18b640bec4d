/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Behind a store to code every hart of the process executes FENCE.I: those that run it are interrupted, all others find a mark when a
 * thread of it comes to them. Two stores and two reads that must not pass each other (store buffers):
 *
 *	writer			hart that a thread comes to
 *	mark := 1		list := 1
 *	barrier			barrier
 *	read list: interrupt	read mark: FENCE.I
 *
 * Property: once the writer's system call has returned, no hart in user mode has the old byte. The writer is
 * membarrier(SYNC_CORE) in the kernel, the list its run queues' current threads, the mark icache_stale_mask (docs/riscv64.md).
 * -DMUT_*: without one of the rules; each must be refuted.
 */
byte code, icache;                     /* in memory; what the hart has fetched: 0 old, 1 new */
bool mark, list, interrupt, returned;
bool code_buffered, mark_buffered, list_buffered;

/* Stores become visible at any later time, those of one hart in their order. */
active proctype buffers()
{
end:
	do
	:: atomic { code_buffered -> code = 1; code_buffered = false }
	:: atomic { !code_buffered && mark_buffered -> mark = true; mark_buffered = false }
	:: atomic { list_buffered -> list = true; list_buffered = false }
	od
}

/* FENCE.I in an interrupt, whatever the hart does. */
active proctype interrupts()
{
end:
	do
	:: atomic { interrupt -> icache = code; interrupt = false }
	od
}

inline writer_barrier() { (!code_buffered && !mark_buffered) }

active proctype writer()
{
	bool seen;

	code_buffered = true;
#ifdef MUT_LIST_FIRST
	seen = list;
#endif
	mark_buffered = true;
#ifndef MUT_NO_WRITER_BARRIER
	writer_barrier();
#endif
#ifndef MUT_LIST_FIRST
	seen = list;
#endif
#ifndef MUT_NO_INTERRUPT
	if
	:: seen -> writer_barrier(); interrupt = true; (!interrupt)
	:: else
	fi;
#endif
	writer_barrier();
	returned = true
}

inline look_at_mark()
{
	if
	:: atomic { mark -> mark = false }; icache = code
	:: else
	fi
}

/* It has run the process before: it has the old byte. A thread comes twice, and goes. */
active proctype hart()
{
	byte turn, step;

	for (turn : 1 .. 2) {
#ifdef MUT_MARK_FIRST
		look_at_mark();
#endif
		list_buffered = true;
#ifndef MUT_NO_HART_BARRIER
		(!list_buffered);
#endif
#ifndef MUT_MARK_FIRST
		look_at_mark();
#endif
		for (step : 1 .. 2) { /* in user mode */
			atomic {
				if
				:: returned -> assert(icache == 1)
				:: else
				fi
			}
		}
		atomic { !list_buffered -> list = false }
	}
}
