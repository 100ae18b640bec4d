/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waking the helper (klp/wake.c, klp/escort.c, klp/request.c, klp/permit.c, klp/runtime/helper.c). It waits in one system call, which a tool ends by a stop and
 * which ends by itself only when the helper is to leave. A tool posts a request and, as long as that is not done, stops the helper whenever it says that it
 * sleeps; it may be killed at any step, and the next one lets be done what it finds. A helper whose time is over says that it leaves, looks once more, and ends
 * or stays; a tool that finds none starts another when the last one has ended. Where a filter forbids the helper's calls, a stopped helper is given, instead of
 * what it was asked, the request to leave.
 *
 * Properties, as assertions:
 *   once     what a request asks is executed once, as it was posted
 *   one      there is one helper at a time
 *   woken    a request that a tool waits for is executed, though the helper's time is never over
 *
 * Seeded mutations, each of which must be refuted: -DMUT_WAKE_ONCE, -DMUT_NO_LAST_LOOK, -DMUT_START_AT_ONCE, -DMUT_NO_SETTLE, -DMUT_REPLACE_AWAKE.
 */
#ifndef REQUESTS
#define REQUESTS 4
#endif
#ifndef TIMEOUTS
#define TIMEOUTS 2
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
#define EXIT 255

/* The control block. */
byte ops;		/* what is asked: the number of its request, or EXIT */
byte request, done;
bool helper, asleep;	/* helper_tid is not 0 */

bool in_call, stop_ends_it;
byte live;		/* ghost */
byte executed;		/* ghost: the last request that was executed */
bool waits;		/* ghost: a tool waits for its request */
byte timeouts = TIMEOUTS;
bool kill;

proctype Helper() {
	byte asked;
	bool over;

	assert(live == 1);				/* one */
	helper = true;
	do
	:: request != done ->
		asked = ops;
		if
		:: asked == EXIT ->
			helper = false;
			executed = request;
			done = request;
			break
		:: else ->
			assert(asked == request && executed != request && ops == asked);	/* once */
			executed = request;
			assert(ops == asked);						/* once */
			done = request
		fi
	:: else ->
		/* here it has looked for a request for the last time */
		asleep = true;
		in_call = true;
end:		if
		:: d_step { stop_ends_it -> stop_ends_it = false; in_call = false }
		:: d_step { timeouts > 0 -> timeouts--; stop_ends_it = false; in_call = false; over = true }
		fi;
		asleep = false;
		if
		:: over && request == done ->
			helper = false;
#ifndef MUT_NO_LAST_LOOK
			if
			:: request == done -> break
			:: else -> helper = true
			fi
#else
			break
#endif
		:: else -> skip
		fi;
		over = false
	od;
	live--
}

/* klp_wake: a stop ends the call, if the helper is in it. */
inline wake() {
	d_step {
		if
		:: in_call -> stop_ends_it = true
		:: else -> skip
		fi
	}
}

/* klp_request_wait */
inline await() {
	waits = true;
	do
	:: done == request -> break
#ifdef MUT_WAKE_ONCE
	:: done != request && asleep && !woken -> woken = true; wake()
#else
	:: done != request && asleep -> wake()
#endif
	od;
	waits = false
}

/* klp_request_orphaned, klp_helper_start: when the last one has ended (klp_settle_core) */
inline start() {
	if
	:: helper -> skip
#ifdef MUT_START_AT_ONCE
	:: else ->
#else
	:: live == 0 ->
#endif
		if
		:: done != request ->
			atomic { run Helper(); live++ };
			(helper || done == request)
		:: else -> skip
		fi
	fi
}

active proctype Tool() {
	byte left = REQUESTS;
	bool woken;

	do
	:: left == 0 -> break
	:: left > 0 ->
		left--;
		{
			woken = false;
			/* klp_permit: the helper stands still */
			if
			:: skip
			:: atomic {
#ifdef MUT_REPLACE_AWAKE
				helper ->
#else
				(helper && (request == done || asleep)) ->
#endif
				ops = EXIT;
				if
				:: request == done -> request++
				:: else -> skip
				fi
			   };
			   await();
			   goto ended
			fi;
			/* klp_request_settle */
#ifndef MUT_NO_SETTLE
			if
			:: request != done ->
				if
				:: !helper -> start()
				:: else -> skip
				fi;
				await()
			:: else -> skip
			fi;
#endif
			ops = request + 1;
			request++;
			if
			:: !helper -> start()
			:: else -> skip
			fi;
			await();
ended:			skip
		} unless {
			d_step { kill -> kill = false; waits = false; woken = false }
		}
	od
}

active proctype Killer() {
	byte deaths = DEATHS;

end:	do
	:: deaths > 0 && !kill -> deaths--; kill = true
	od
}

/* Nobody can go on. */
active proctype Watch() {
end:	timeout -> assert(!waits)			/* woken */
}
