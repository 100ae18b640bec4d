/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread protocol of a transition (section 8 of the design, klp/runtime/rt.h, klp/runtime/dispatch.c), for exhaustive
 * exploration by spin. docs/model/README.md says what is modelled and what is not; tests/model runs it.
 *
 * Two threads of the target, the engine (with the helper's stores), and a process that empties store buffers at any moment.
 *
 * Properties, as assertions:
 *   mixed      no thread ever has frames of both universes on its stack
 *   complete   when the engine declares a transition complete, no thread has a frame of the universe that was left, and none enters one later
 *
 * Seeded mutations, each of which must be refuted: -DMUT_LOAD_FIRST, -DMUT_NO_GENERATION, -DMUT_NO_RECHECK, -DMUT_NO_MEMBARRIER, -DMUT_ENGINE_APPLIES,
 * -DMUT_SEALED_EARLY, -DMUT_VERDICT_EARLY, -DMUT_COUNT_LATE, -DMUT_NO_ENTRY_IS_DONE, -DMUT_STATE_BEFORE_SP, -DMUT_CLAIM_IN_TWO,
 * -DMUT_NO_BASE, -DMUT_BASE_ANEW, -DMUT_STATE_ONCE, -DMUT_NO_PREV, with -DJUMP -DMUT_FIRST_LATE, with -DDOOR -DMUT_DOOR_NO_RECHECK, -DMUT_DOOR_TRAMPOLINE, -DMUT_DOOR_IS_PROOF, -DMUT_DOOR_OWN_COUNT,
 * and with -DFORK -DMUT_NO_IDENTITY_CHECK, -DMUT_NO_COMPLETING.
 *
 * -DLOCKED_COUNT: the increment of the count is a full barrier, as on x86_64. Without it a plain store that waits in the thread's store buffer: then
 * the membarrier alone must make the protocol right.
 * -DDOOR=n: threads wait in dispatch for a verdict at any time, and the engine reads the stacks of those that are there, n times (klp/door.h).
 * -DNESTED: a handler may be interrupted by another one.
 * -DJUMP: a handler may leave by siglongjmp, out of a dispatch that it interrupted too: that dispatch's mark stays.
 * -DFORK: thread 0 forks at any moment, inside a signal handler that interrupted dispatch too. The child's memory is a snapshot: the engine and
 * thread 1 stand still from there on, and the child goes on with another tid.
 */

#ifndef CALLS
#define CALLS 2		/* calls of patched functions by thread 0 */
#endif
#ifndef CALLS1
#define CALLS1 1	/* and by thread 1 */
#endif
#ifndef SITES
#define SITES 2		/* patched functions */
#endif
#ifndef SIGNALS
#define SIGNALS 1	/* signals to thread 0 */
#endif
#ifndef REVERSALS
#define REVERSALS 2
#endif
#ifndef DEATHS
#define DEATHS 1	/* kills of the tool */
#endif
#define DEPTH 2		/* frames of patched functions on one stack, handlers' not counted */

/* Slots */
#define BODY 0		/* dormant, or the original body: the call is not dispatched */
#define REPLACEMENT 1
#define STUB 2

/* Transition word: struct as KLP_TR, one transition id */
#define W(gen, target, sealed) ((gen) << 3 | (sealed) << 2 | (target) << 1 | 1)
#define ACTIVE(w) ((w) & 1)
#define TARGET(w) (((w) >> 1) & 1)
#define SEALED(w) (((w) >> 2) & 1)
#define GEN(w) (((w) >> 3) & 15)
#define COMPLETING 128	/* every thread is proven: whoever dispatches goes to the target universe, a fork child too */

#define NONE 255

/* Verdict: generation and count; 0 none (generations begin at 1) */
#define VERDICT(gen, count) ((gen) << 4 | (count))
#ifdef MUT_NO_GENERATION
#define IN_FORCE(v, w) ((v) != 0)
#else
#define IN_FORCE(v, w) ((v) != 0 && (v) >> 4 == GEN(w))
#endif
#define MATCHES(v, w, first, last) (IN_FORCE(v, w) && ((v) & 15) >= (first) && ((v) & 15) <= (last))

byte word;		/* the transition word */
byte slot[2];		/* two patched functions */
bool kill;		/* of the tool */
bool done;		/* ghost: the engine has declared it complete ... */
bit final;		/* ... in this universe */

/* The thread table. Entry 2 is that of the fork child. What a store buffer may hold back has a visible twin. */
bool used[3];		/* tid is there */
byte state[3];
byte count[3], count_seen[3];
byte in_sp[3], in_sp_seen[3]; /* the mark: where on the stack the innermost dispatch in progress stands, or one that a jump left; 0 none */
byte base[3];		/* count + 1 before the first dispatch since which no frame has come; only its own thread reads it */
bool buffered[3];	/* in_sp and count of the last entry are in the thread's store buffer */
byte verdict[3];
bool verdict_buffered[3]; /* in the helper's store buffer */
byte verdict_next[3];

/* Threads: what the engine can learn only by a proof */
bool alive[2];
byte me[2];		/* the thread's entry: its tid */
byte frames[4];		/* [thread * 2 + universe] */
byte klp_frames[2];	/* stub, trampoline or dispatch frames: never proven */
byte signals = SIGNALS;
bool in_handler;		/* thread 0 has been interrupted */
bool in_nested;			/* and its handler too */
bool frozen;		/* the view is the fork child's */
bool clean[6];		/* [place of the mark * 2 + universe]: what a trace of thread 0 from that dispatch's frame finds */
bool jumped;		/* thread 0 goes on behind its sigsetjmp */

inline flush(i) {
	if
	:: buffered[i] -> buffered[i] = false; count_seen[i] = count[i]; in_sp_seen[i] = in_sp[i]
	:: else -> skip
	fi
}

inline drain_verdict(i) {
	if
	:: verdict_buffered[i] -> verdict[i] = verdict_next[i]; verdict_next[i] = 0; verdict_buffered[i] = false
	:: else -> skip
	fi
}

/* Store buffers empty themselves whenever they like. */
active proctype Buffers() provided (!frozen) {
end:	do
	:: d_step { buffered[0] -> flush(0) }
	:: d_step { buffered[1] -> flush(1) }
	:: d_step { verdict_buffered[0] -> drain_verdict(0) }
	:: d_step { verdict_buffered[1] -> drain_verdict(1) }
	od
}

/* A patched function is entered. The slot was read in the same step: a PC in a prefix is as unprovable as one in the function. */
inline enter(t, u) {
	frames[t * 2 + u]++;
	assert(frames[t * 2] == 0 || frames[t * 2 + 1] == 0);	/* mixed */
	assert(!done || frozen || u == final)			/* complete; in a fork child nobody completes */
}

#ifdef MUT_LOAD_FIRST
#define LOAD_FIRST v = verdict[e];
#define LOAD_AFTER
#else
#define LOAD_FIRST
#define LOAD_AFTER v = verdict[e];
#endif
#ifdef LOCKED_COUNT
#define FULL_BARRIER flush(e)
#else
#define FULL_BARRIER skip
#endif
/* A handler takes the verdict that the dispatch which it interrupted has not yet taken. */
#ifdef MUT_NO_BASE
#define FIRST old
#elif defined(MUT_FIRST_LATE)	/* as it is now, not as this dispatch has found or set it */
#define FIRST (base[e] != 0 -> base[e] - 1 : old)
#else
#define FIRST (first - 1)
#endif
#ifdef MUT_BASE_ANEW	/* as if the interrupted dispatch had been left by a jump */
#define KEPT_BASE 0
#else
#define KEPT_BASE base[e]
#endif
/* A trace through another stub or trampoline, one that has decided and has not yet entered its function, is not reliable. */
#ifdef MUT_DOOR_TRAMPOLINE
#define DOOR_TRACE(t) true
#else
#define DOOR_TRACE(t) (klp_frames[t] == 1)
#endif
#ifdef DOOR
/* The wait at the door: whenever it ends, the verdict is looked at once more. */
#define AT_DOOR \
		if \
		:: ACTIVE(w) && state[e] != TARGET(w) -> \
			d_step { flush(e) } \
			v = verdict[e]; \
			if \
			:: MATCHES(v, w, old, old) -> d_step { flush(e); state[e] = TARGET(w); prev = 0 } \
			:: else -> skip \
			fi \
		:: else -> skip \
		fi
#else
#define AT_DOOR skip
#endif
#ifdef MUT_NO_PREV	/* as if no other dispatch could be in progress */
#define PREV 0
#else
#define PREV prev
#endif
#ifdef MUT_STATE_ONCE
#define STATE_EARLY s = state[e];
#define STATE_LATE
#else
#define STATE_EARLY
#define STATE_LATE s = state[e];
#endif
#ifdef MUT_NO_IDENTITY_CHECK
#define SAME_THREAD(t) true
#else
#define SAME_THREAD(t) (me[t] == e)
#endif

/* claim(): one compare-and-swap of {tid, state}; the mutation swaps the tid and stores the state afterwards. */
#ifdef MUT_CLAIM_IN_TWO
#define CLAIM \
		if \
		:: atomic { s != NONE && !used[e] -> used[e] = true }; state[e] = s \
		:: else -> skip \
		fi;
#else
#define CLAIM \
		d_step { \
			if \
			:: s != NONE && !used[e] -> used[e] = true; state[e] = s \
			:: else -> skip \
			fi \
		}
#endif

/* klp_rt_livepatch, one access to shared memory a step. A signal handler may come between any two. */
inline dispatch(t) {
	w = word;
	if
	:: !ACTIVE(w) ->	/* pass() */
		atomic {
			if
			:: slot[x] != STUB -> u = slot[x]
			:: else -> u = BODY; w = word
			fi
		}
	:: else -> skip
	fi;
	do
	:: !ACTIVE(w) -> break
	:: ACTIVE(w) ->
		atomic {	/* find(); enter() of a new thread, or of the fork child, which inherits */
			e = me[t];
			if
			:: used[e] -> s = NONE
			:: !used[e] && e == 2 -> s = state[0]
			:: !used[e] && e != 2 -> s = SEALED(w) & TARGET(w)
			fi
		}
		CLAIM
		/* decide() */
		LOAD_FIRST
		d_step {	/* in_sp, which only a handler reads before the count is incremented; and base likewise */
			if
			:: t == 0 ->
				clean[klp_frames[t] * 2 - 2] = frames[t * 2] == 0 && DOOR_TRACE(t);
				clean[klp_frames[t] * 2 - 1] = frames[t * 2 + 1] == 0 && DOOR_TRACE(t)
			:: else -> skip
			fi;
			prev = in_sp[e];
			in_sp[e] = klp_frames[t]
		}
		first = KEPT_BASE;
		if
		:: first == 0 -> first = count[e] + 1; base[e] = first
		:: else -> skip
		fi;
		d_step {	/* count, into the store buffer (with in_sp) */
			buffered[e] = true;
			old = count[e];
			count[e]++;
			FULL_BARRIER
		}
		w = word;
		LOAD_AFTER
		if
		:: ACTIVE(w) && MATCHES(v, w, FIRST, old) ->
			d_step { flush(e); state[e] = TARGET(w) }
		:: else -> AT_DOOR
		fi;
		STATE_EARLY
		base[e] = 0;
		STATE_LATE
		d_step {	/* in_sp = prev */
			flush(e);
			in_sp[e] = PREV;
			in_sp_seen[e] = in_sp[e];
			u = ((w & COMPLETING) -> TARGET(w) : s)
		}
		if
		:: !ACTIVE(w) -> u = ((slot[x] != STUB) -> slot[x] : BODY); break	/* over meanwhile: pass() again */
		:: ACTIVE(w) && SAME_THREAD(t) -> break
		:: ACTIVE(w) && !SAME_THREAD(t) -> skip	/* a handler forked meanwhile and this is the child: again, as itself */
		fi
	od;
	skip
}

/* A call of one of the patched functions, up to its first instruction. */
inline call(t) {
	if
	:: d_step { slot[0] != STUB -> u = slot[0]; enter(t, u); top = u; u = 0 }
#if SITES == 2
	:: d_step { slot[1] != STUB -> u = slot[1]; enter(t, u); top = u; u = 0 }
#endif
	:: atomic {
		if
		:: slot[0] == STUB -> skip
#if SITES == 2
		:: slot[1] == STUB -> x = 1
#endif
		fi;
		klp_frames[t]++
	   }
	   dispatch(t);
	   d_step { klp_frames[t]--; enter(t, u); top = u; forget() }
	fi
}

inline forget() {
	x = 0; u = 0; w = 0; e = 0; old = 0; v = 0; s = 0; prev = 0; first = 0
}

inline thread(t) {
	alive[t] = true;
	do
	:: calls > 0 && frames[t * 2] + frames[t * 2 + 1] < DEPTH ->
		call(t);
		d_step { calls--; top = 0 }
	:: d_step { frames[t * 2] > 0 -> frames[t * 2]-- }		/* return */
	:: d_step { frames[t * 2 + 1] > 0 -> frames[t * 2 + 1]-- }
	:: atomic { calls == 0 && frames[t * 2] + frames[t * 2 + 1] == 0 -> alive[t] = false; break }
	od
}

active proctype Thread0() provided (!in_handler) {
	byte calls = CALLS;
	byte x, u, w, e, old, v, s, prev, first;
	bool top;

	me[0] = 0;
#ifdef JUMP
again:	{
		thread(0)
	} unless {
		d_step { jumped -> jumped = false; forget(); top = 0 };
		goto again
	}
#else
	thread(0)
#endif
}

#if CALLS1
/* Born at any moment, before the transition as well as in each of its phases. */
active proctype Thread1() provided (!frozen) {
	byte calls = CALLS1;
	byte x, u, w, e, old, v, s, prev, first;
	bool top;

	me[1] = 1;
	thread(1)
}
#endif

#if SIGNALS
/* A signal handler on thread 0's stack, between any two steps of dispatch or of the program; it calls a patched function. */
active proctype Handler() provided (!in_nested) {
	byte x, u, w, e, old, v, s, prev, first;
	bool top;

end:	do
	:: atomic { signals > 0 && alive[0] -> signals--; in_handler = true };
	   call(0);
	   d_step { frames[top]--; top = 0; in_handler = false }
#ifdef JUMP
	:: atomic { signals > 0 && alive[0] -> signals--; in_handler = true };
	   if
	   :: call(0)
	   :: skip
	   fi;
	   atomic {
		klp_frames[0] = 0;
		do	/* to any frame that it has, or out of all */
		:: frames[0] > 0 -> frames[0]--
		:: frames[1] > 0 -> frames[1]--
		:: break
		od;
		top = 0; jumped = true; in_handler = false
	   }
#endif
	od
}

#ifdef NESTED
active proctype Nested() {
	byte x, u, w, e, old, v, s, prev, first;
	bool top, was;

end:	atomic { in_handler && !was -> was = true; in_nested = true };
	call(0);
	d_step { frames[top]--; top = 0; in_nested = false }
}
#endif
#endif

#ifdef FORK
/* At any moment: by the program, or by the handler that interrupted it. */
active proctype Fork() {
end:	d_step { alive[0] && !frozen -> flush(0); frozen = true; me[0] = 2 }
}
#endif

#ifdef MUT_NO_MEMBARRIER
#define membarrier() skip
#else
#define membarrier() d_step { flush(0); flush(1); drain_verdict(0); drain_verdict(1) }
#endif

inline insert(k, u) {	/* KLP_OP_INSERT: a compare-and-swap as well */
	d_step {
		if
		:: !used[k] -> used[k] = true; state[k] = u
		:: else -> skip
		fi
	}
}

#ifdef MUT_STATE_BEFORE_SP
#define FIRST_LOOK(k) i = state[k]
#define SECOND_LOOK(k) ok = in_sp_seen[k] == 0
#else
#define FIRST_LOOK(k) ok = in_sp_seen[k] == 0
#define SECOND_LOOK(k) i = state[k]
#endif
#ifdef MUT_VERDICT_EARLY
#define SECOND_SITE_EARLY skip
#define SECOND_SITE_LATE slot[1] = STUB; membarrier()
#else
#define SECOND_SITE_EARLY slot[1] = STUB
#define SECOND_SITE_LATE skip
#endif
#ifdef MUT_SEALED_EARLY
#define SEAL_EARLY word = word | 4; membarrier()
#else
#define SEAL_EARLY skip
#endif

/* Has thread k moved, or will it at its next dispatch? */
inline prove(k) {
	if
	:: !alive[k] -> proven[k] = true	/* not in /proc/PID/task: gone, or not born (then it starts in the target universe) */
	:: alive[k] && !used[k] ->		/* born after the list was made and never dispatched; it may be in claim() now */
#ifdef MUT_NO_ENTRY_IS_DONE
		proven[k] = true
#else
		insert(k, TARGET(word))
#endif
	:: alive[k] && used[k] ->
		FIRST_LOOK(k);
		SECOND_LOOK(k);
		if
		:: ok && i == TARGET(word) -> proven[k] = true
		:: else ->
#ifndef MUT_COUNT_LATE
			c = count_seen[k];
#endif
			/* The proof: atomic, because the switch counters and the system call are the same before and after it; the
			 * thread was switched out meanwhile, so its store buffer is empty. A sample is one interrupt, and empties
			 * nothing. */
			d_step {
				ok = klp_frames[k] == 0 && frames[k * 2 + 1 - TARGET(word)] == 0;
#ifndef SAMPLED
				if
				:: ok -> flush(k)
				:: else -> skip
				fi
#endif
			}
			if
			:: ok ->
#ifdef MUT_COUNT_LATE
				c = count_seen[k];
#endif
#ifdef MUT_ENGINE_APPLIES
				state[k] = TARGET(word);
				proven[k] = true
#else
				d_step { drain_verdict(k); verdict_next[k] = VERDICT(GEN(word), c); verdict_buffered[k] = true }
				membarrier();
#ifdef MUT_NO_RECHECK
				proven[k] = true
#else
				ok = count_seen[k] == c;
				proven[k] = ok && in_sp_seen[k] == 0
#endif
#endif
			:: else -> skip
			fi
		fi;
		d_step { i = 0; c = 0; ok = false }
	fi
}

/* Thread k is in dispatch: its mark and count are the same before and after its stack is read, from the frame that the mark names. */
inline door(k) {
	c = count_seen[k];
	i = in_sp_seen[k];
	if
	:: used[k] && i != 0 && c > 0 ->
		ok = clean[i * 2 - 1 - TARGET(word)];
#ifdef MUT_DOOR_NO_RECHECK
		c = count_seen[k];
#endif
		if
		:: ok && in_sp_seen[k] == i && c == count_seen[k] ->
#ifdef MUT_DOOR_OWN_COUNT
			d_step { drain_verdict(k); verdict_next[k] = VERDICT(GEN(word), c); verdict_buffered[k] = true };
#else
			d_step { drain_verdict(k); verdict_next[k] = VERDICT(GEN(word), c - 1); verdict_buffered[k] = true };
#endif
#ifdef MUT_DOOR_IS_PROOF
			proven[k] = true
#endif
		:: else -> skip
		fi
	:: else -> skip
	fi;
	d_step { c = 0; i = 0; ok = false }
}

#if DEATHS
/* kill -9 of the tool at any moment. */
active proctype Killer() provided (!frozen) {
	byte deaths = DEATHS;

end:	do
	:: deaths > 0 && !done -> deaths--; kill = true
	od
}
#endif

active proctype Engine() provided (!frozen) {
	byte reversals = REVERSALS;
#ifdef DOOR
	byte doors = DOOR;	/* answers at the door */
#endif
	bool proven[2], listed[2];
	byte c, i;
	bool ok;

resume:
	{
		if
		:: !ACTIVE(word) -> atomic { word = W(1, 1, 0); membarrier() }
		:: else -> skip
		fi;
		if
		:: !SEALED(word) ->
			slot[0] = STUB;
			SECOND_SITE_EARLY;
			membarrier();
			d_step { listed[0] = alive[0]; listed[1] = alive[1] };
			SEAL_EARLY;
			if
			:: listed[0] -> insert(0, 0)
			:: else -> skip
			fi;
			if
			:: listed[1] -> insert(1, 0)
			:: else -> skip
			fi;
			word = word | 4; membarrier()
		:: else -> skip
		fi;
		do
		:: !proven[0] -> prove(0)
#if CALLS1
		:: !proven[1] -> prove(1)
#endif
#ifdef DOOR
		:: doors > 0 && !proven[0] && in_sp_seen[0] != 0 -> doors--; door(0)
#endif
		:: reversals > 0 ->
			atomic {	/* one request: no kill of the tool comes between the word and its membarrier */
				d_step { reversals--; proven[0] = false; proven[1] = false; word = W(GEN(word) + 1, 1 - TARGET(word), 1) };
				membarrier()
			}
		:: proven[0] && (proven[1] || !CALLS1) -> break
		od;
		SECOND_SITE_LATE;
		goto complete
	} unless {
		/* All that the tool knew is lost. The helper ends the request that it has begun; what is in its store buffer goes out. */
		d_step { kill -> kill = false; proven[0] = false; proven[1] = false; listed[0] = false; listed[1] = false; i = 0; c = 0; ok = false };
		goto resume
	}

	/* One request of the helper: a kill of the tool does not interrupt it. */
complete:
	atomic {
		final = TARGET(word);
		done = true;
		assert(frames[1 - final] == 0 && frames[2 + 1 - final] == 0)	/* complete */
	}
#ifndef MUT_NO_COMPLETING
	word = word | COMPLETING;
	membarrier();
#endif
	slot[0] = final;
	slot[1] = final;
	membarrier();
	word = 0
}
