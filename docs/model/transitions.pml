/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread across several transitions (klp/runtime/dispatch.c: klp_rt_livepatch, body_under, move; klp/entries.c). Each
 * is about some of the two functions, moves the thread by a verdict, may be turned round, and is followed by the next
 * one as soon as it is complete: a thread that has been proven is not waited for, wherever in dispatch it sleeps. The
 * thread may end where it has no frames, and another one may be born that has its tid, and so its entry.
 *
 * klp.pml has one transition, with store buffers, signal handlers, forks and kills of the tool; here every access takes
 * effect at once, and there are none of these.
 *
 * Properties, as assertions:
 *   version    a function is entered in the version that is in force, or in one that the transition in progress is about
 *   mixed      no thread has frames of both universes of the transition in progress on its stack
 *   complete   behind a transition no thread has frames of the universe that was left
 *
 *   -DTRANSITIONS=N, -DCALLS=N, -DREVERSALS=N (for all transitions together), -DREBIRTHS=N
 *
 * Seeded mutations, each of which must be refuted: -DMUT_NO_SLOT_CHECK, -DMUT_NO_WORD_CHECK, -DMUT_BODY_LATE,
 * -DMUT_STATE_STORED, with -DREBIRTHS=1 -DMUT_NO_SETTLE and -DMUT_SETTLE_UNCHECKED.
 */
#ifndef TRANSITIONS
#define TRANSITIONS 3
#endif
#ifndef CALLS
#define CALLS 2
#endif
#ifndef REVERSALS
#define REVERSALS 1
#endif
#ifndef REBIRTHS
#define REBIRTHS 0
#endif
#define DEPTH 2		/* frames of patched functions */

#define STUB 255	/* a slot's value; others are versions: 0 is the original, n came with transition n */

/* The word: transition, generation, target, sealed; 0 none. Generations are counted through. */
byte word_id, word_gen;
bit word_target, word_sealed, word_completing;

byte slot[2];
byte pc[8];		/* [site * 4 + parity of the transition * 2 + universe] */
byte in_force[2];	/* ghost: the version behind the last complete transition */
bit about[2];		/* ghost: what the transition in progress is about */

/* The one entry of the table. */
bit used, state_universe;
byte state_id, count, verdict_gen, verdict_count;
bit mark;		/* in_sp */

/* The thread */
bit alive, inside;	/* inside: in a stub, trampoline or dispatch, never proven */
byte frames[2], version[2];

inline enter(p) {
	d_step {
	assert(p == in_force[s] || (word_id != 0 && about[s] && p == word_id));	/* version */
	assert(frames[s] == 0 || version[s] == p);				/* mixed */
	frames[s]++;
	version[s] = p;
	assert(word_id == 0 || !about[0] || !about[1] || frames[0] == 0 || frames[1] == 0 ||
	       (version[0] == word_id) == (version[1] == word_id));		/* mixed */
	inside = 0
	}
}

#ifdef MUT_NO_SLOT_CHECK
#define SLOT_IS_ELSEWHERE false
#else
#define SLOT_IS_ELSEWHERE (slot[s] != STUB)
#endif
#ifdef MUT_NO_WORD_CHECK
#define WORD_IS_ANOTHER (word_id == 0)
#else
#define WORD_IS_ANOTHER (word_id != id)
#endif
#ifdef MUT_STATE_STORED
#define MOVE state_id = id; state_universe = target
#else
#define MOVE \
		if \
		:: state_id == id -> state_universe = target \
		:: else -> skip \
		fi
#endif
#define LOAD_BODY p = pc[s * 4 + (id % 2) * 2 + u]

/* A call that came through the stub. */
inline dispatch() {
	skip;
again:	if
	:: atomic { slot[s] != STUB -> p = slot[s] }; goto decided	/* goes_directly() */
	:: slot[s] == STUB
	fi;
	d_step { id = word_id; target = word_target; sealed = word_sealed };
	if
	:: id == 0 -> goto again
	:: else
	fi;
	atomic {	/* enter_own(): claim(), or the tid is used again; both are a compare-and-swap */
		if
		:: !used -> used = 1; state_id = id; state_universe = sealed & target
		:: used && state_id < id -> state_id = id; state_universe = sealed & target
		:: else -> skip
		fi
	};
	mark = 1;	/* decide() */
	d_step { old = count; count++ };
	d_step { id = word_id; gen = word_gen; target = word_target; completing = word_completing };
	if
	:: id != 0 ->
		given = verdict_gen == gen && verdict_count == old;
		if
		:: given -> atomic { MOVE }
		:: else -> skip
		fi;
		atomic { u = (completing -> target : (state_id == id && state_universe)) }
	:: else -> skip
	fi;
	mark = 0;
	if
	:: id == 0 -> goto again
	:: else
	fi;
#ifndef MUT_BODY_LATE
	LOAD_BODY;
#endif
	if
	:: SLOT_IS_ELSEWHERE -> goto again
	:: !SLOT_IS_ELSEWHERE
	fi;
	if
	:: WORD_IS_ANOTHER -> goto again
	:: !WORD_IS_ANOTHER
	fi;
#ifdef MUT_BODY_LATE
	LOAD_BODY;
#endif
decided:
	enter(p)
}

active proctype Thread() {
	byte calls = CALLS, rebirths = REBIRTHS, s, p, id, gen, old;
	bit target, sealed, completing, u, given;

	alive = 1;
end:	do
	:: atomic {
		alive && calls > 0 && frames[0] + frames[1] < DEPTH ->
		calls--;
		if
		:: s = 0
		:: s = 1
		fi;
		if	/* the slot is read and jumped through by one instruction */
		:: slot[s] != STUB -> p = slot[s]; enter(p); goto called
		:: else -> inside = 1
		fi
	   };
	   dispatch();
called:	   skip;
	   d_step { s = 0; p = 0; id = 0; gen = 0; old = 0; target = 0; sealed = 0; completing = 0; u = 0; given = 0 }
	:: d_step { frames[0] > 0 -> frames[0]--; version[0] = (frames[0] == 0 -> 0 : version[0]) }
	:: d_step { frames[1] > 0 -> frames[1]--; version[1] = (frames[1] == 0 -> 0 : version[1]) }
	:: atomic { alive && rebirths > 0 && frames[0] + frames[1] == 0 -> rebirths--; alive = 0 }
	:: atomic { !alive -> alive = 1 }
	od
}

#define LEFT(x) (about[x] && frames[x] > 0 && (version[x] == word_id) != word_target)
#define CLEAN (!inside && !LEFT(0) && !LEFT(1))
#define ARRIVED (used && state_id == word_id && state_universe == word_target)

active proctype Engine() {
	byte t, c, next_gen = 1, reversals = REVERSALS;
	bit proven, gone, settled;

	for (t : 1 .. TRANSITIONS) {
		if
		:: d_step { about[0] = 1; about[1] = 0 }
		:: d_step { about[0] = 0; about[1] = 1 }
		:: d_step { about[0] = 1; about[1] = 1 }
		fi;
		/* pc[] is written, site by site, before the word */
		if
		:: about[0] -> pc[(t % 2) * 2] = in_force[0]; pc[(t % 2) * 2 + 1] = t
		:: else
		fi;
		if
		:: about[1] -> pc[4 + (t % 2) * 2] = in_force[1]; pc[4 + (t % 2) * 2 + 1] = t
		:: else
		fi;
		d_step { word_id = t; word_gen = next_gen; next_gen++; word_target = 1; word_sealed = 0; word_completing = 0 };
		if
		:: about[0] -> slot[0] = STUB
		:: else
		fi;
		if
		:: about[1] -> slot[1] = STUB
		:: else
		fi;
		if	/* whoever lives is listed, and has an entry of this transition */
		:: atomic { alive && !(used && state_id == t) -> used = 1; state_id = t; state_universe = 0 }
		:: atomic { alive && used && state_id == t }
		:: atomic { !alive }
		fi;
		word_sealed = 1;
		d_step { proven = 0; gone = 0; settled = 0; c = 0 };
		do
		:: !proven ->
			if
			:: atomic { !alive -> proven = 1; gone = 1 }
			:: atomic { alive && !(used && state_id == t) -> used = 1; state_id = t; state_universe = word_target }
			:: atomic { alive && !mark && ARRIVED -> proven = 1 }
			:: c = count;
			   if
			   :: atomic { alive && CLEAN && used && state_id == t -> verdict_gen = word_gen; verdict_count = c };
				atomic { proven = count == c }
			   :: else
			   fi;
			   c = 0
			fi
		:: atomic { reversals > 0 -> reversals--; word_gen = next_gen; next_gen++; word_target = 1 - word_target; proven = 0; gone = 0 }
#ifdef MUT_NO_SETTLE
		:: proven -> break
#else
		:: proven ->	/* klp_entries_settle */
			c = count;
			if
			:: atomic { gone && used && state_id == t && state_universe != word_target &&
				    !(verdict_gen == word_gen && verdict_count == count) };
				if
#ifdef MUT_SETTLE_UNCHECKED
				:: true ->
#else
				:: !alive ->
#endif
					d_step { verdict_gen = word_gen; verdict_count = c };
					atomic { settled = count == c; proven = settled; gone = settled && gone }
				:: alive -> proven = 0; gone = 0	/* somebody has the tid */
				fi
			:: else -> settled = 1
			fi;
			c = 0;
			if
			:: settled -> break
			:: else
			fi
#endif
		od;
		atomic { assert(!LEFT(0) && !LEFT(1)) };	/* complete */
		word_completing = 1;
		if
		:: about[0] -> d_step { in_force[0] = (word_target -> t : in_force[0]); slot[0] = in_force[0] }
		:: else
		fi;
		if
		:: about[1] -> d_step { in_force[1] = (word_target -> t : in_force[1]); slot[1] = in_force[1] }
		:: else
		fi;
		d_step { word_id = 0; word_gen = 0; word_target = 0; word_sealed = 0; word_completing = 0; about[0] = 0; about[1] = 0 }
	}
}
