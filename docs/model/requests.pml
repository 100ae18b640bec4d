/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a killed tool leaves behind, and the next one: a request is posted by a tool that may be killed at any step, and
 * executed by the helper at any later time, operation by operation (klp/request.c, klp/runtime/helper.c). What a
 * command does is decided by what the control block says (klp/session.c, klp/transition.c, klp/unload.c). Two patches,
 * any sequence of load, unload and force by tools that hold the lock, which a kill frees.
 *
 * Properties, as assertions:
 *   one        no transition begins while another is in flight, and no patch but its own is on the way then
 *   own        who reads the control block learns the right patch of a transition in flight, and a command reverses or
 *              completes only the transition of its own patch
 *   answer     "no transition of that patch is pending" is said only if there is none, and none is owed
 *
 * Seeded mutations, each of which must be refuted: -DMUT_NO_SETTLE, -DMUT_SETTLE_LATE, -DMUT_ABOUT_LATE.
 */

#ifndef COMMANDS
#define COMMANDS 4
#endif
#ifndef DEATHS
#define DEATHS 2
#endif

/* Operations of a request; each request has one of these lists. */
#define START 0		/* state of the patch, transition word, sync */
#define REVERSE 1	/* state of the patch, transition word, sync */
#define COMPLETE 2	/* state of the patch, transition word = 0, sync */

/* States of a patch. */
#define OUT 0
#define ENABLING 1
#define ENABLED 2
#define DISABLING 3
#define ON_ITS_WAY(s) ((s) == ENABLING || (s) == DISABLING)

#define LOAD 0
#define UNLOAD 1
#define FORCE 2

/* The control block. */
bool flight;		/* the transition word */
bit about;		/* transition_patch: stored by the tool, before the request */
byte state[2];		/* stored by the helper */
byte op;		/* the request's list, its patch and the patch's next state ... */
bit op_patch;
byte op_state;
bool owed;		/* ... and request != done */

bit word_of;		/* ghost: whose transition is in flight */
bool kill;

active proctype Helper() {
	byte what;

end:	do
	:: owed ->
		state[op_patch] = op_state;
		what = op;
		d_step {
			if
			:: what == START ->
				assert(!flight);				/* one */
				flight = true;
				word_of = op_patch;
				assert(!ON_ITS_WAY(state[1 - op_patch]));	/* one */
#ifndef MUT_ABOUT_LATE
				assert(about == word_of)			/* own */
#endif
			:: what == REVERSE -> assert(flight && word_of == op_patch)	/* own */
			:: what == COMPLETE ->
				assert(flight && word_of == op_patch);		/* own */
				flight = false
			fi
		};
		owed = false;
		what = 0
	od
}

/* One look at the control block: not in one step. */
inline look() {
	seen = flight;
	whose = about;
	had[0] = state[0];
	had[1] = state[1]
}

/* klp_remote_run: what another tool has posted is executed before its list is overwritten. Nothing is, behind the settling; a second line. */
inline request(list, patch, next) {
	!owed;
	op = list;
	op_patch = patch;
	op_state = next;
	owed = true;
	!owed
}

/* klp_transition_start */
inline start(patch, next) {
#ifdef MUT_ABOUT_LATE
	request(START, patch, next);
	about = patch
#else
	about = patch;
	request(START, patch, next)
#endif
}

/* klp_session_start: of a helper that lives it asks something first; another one is started and not awaited. The look behind it is a second line too. */
inline session_start() {
	if
	:: !owed
	:: skip
	fi;
	look()
}

inline forget() {
	seen = false; whose = 0; had[0] = 0; had[1] = 0; mine = 0; command = 0; due = false
}

active proctype Tool() {
	byte commands = COMMANDS;
	byte command, had[2];
	bool seen, due;
	bit whose, mine;

next:	do
	:: commands == 0 -> goto over
	:: commands > 0 ->
		commands--;
		{
			if
			:: command = LOAD
			:: command = UNLOAD
			:: command = FORCE
			fi;
			if
			:: mine = 0
			:: mine = 1
			fi;
			/* klp_session_open: whether something is owed is asked before the first look, for it may be done between the two */
#ifdef MUT_NO_SETTLE
			look();
#else
#ifdef MUT_SETTLE_LATE
			look();
			due = owed;
#else
			due = owed;
			look();
#endif
			if
			:: due -> !owed; look()
			:: !due -> skip
			fi;
#endif
			assert(!seen || whose == word_of);			/* own */
			if
			:: command == FORCE && !(seen && whose == mine) ->
				assert(!owed && !(flight && word_of == mine));	/* answer */
				goto ended
			:: command != FORCE && seen && whose != mine -> goto ended	/* BUSY */
			:: else -> skip
			fi;
			session_start();
			if
			:: seen && whose != mine -> goto ended	/* BUSY: it has begun meanwhile */
			:: seen && whose == mine && command == LOAD && had[mine] == DISABLING -> request(REVERSE, mine, ENABLING)
			:: seen && whose == mine && command == UNLOAD && had[mine] == ENABLING -> request(REVERSE, mine, DISABLING)
			:: !seen && command == LOAD && had[mine] == OUT -> start(mine, ENABLING)
			:: !seen && command == UNLOAD && had[mine] == ENABLED -> start(mine, DISABLING)
			:: seen && whose == mine && (command == FORCE || (command == LOAD && had[mine] == ENABLING) || (command == UNLOAD && had[mine] == DISABLING)) -> skip
			:: else -> goto ended
			fi;
			if
			:: skip -> goto ended	/* its time is over, or it waits for a thread: the transition stays */
			:: look();
			   request(COMPLETE, mine, (had[mine] == ENABLING -> ENABLED : OUT))
			fi;
ended:			skip;
			d_step { forget() }
		} unless {
			d_step { kill -> kill = false; forget() }
		}
	od;
over:	skip
}

/* kill -9 at any step; the lock is free at once. */
active proctype Killer() {
	byte deaths = DEATHS;

end:	do
	:: deaths > 0 && !kill -> deaths--; kill = true
	od
}
