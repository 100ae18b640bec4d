/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread protocol of a transition (section 8 of the design, klp/runtime/rt.h, klp/runtime/dispatch.c), for exhaustive
 * exploration by spin. docs/model/README.md says what is modelled and what is not; tests/model runs it.
 *
 * Two threads of the target and the engine (with the helper's stores). A store buffer empties itself at any moment; whether it has is decided where
 * it is first seen, or never seen again: at a look, and before the next store.
 *
 * Properties, as assertions:
 *   mixed      no thread ever has frames of both universes on its stack
 *   complete   when the engine declares a transition complete, no thread has a frame of the universe that was left, and none enters one later
 *
 * Seeded mutations, each of which must be refuted: -DMUT_LOAD_FIRST, -DMUT_NO_GENERATION, -DMUT_NO_RECHECK, -DMUT_NO_S_VERDICT, -DMUT_NO_S_REVERSAL, -DMUT_ENGINE_APPLIES,
 * -DMUT_SEALED_EARLY, -DMUT_VERDICT_EARLY, -DMUT_COUNT_LATE, -DMUT_NO_ENTRY_IS_DONE, -DMUT_STATE_BEFORE_SP, -DMUT_CLAIM_IN_TWO,
 * -DMUT_NO_BASE, -DMUT_BASE_ANEW, -DMUT_STATE_ONCE, -DMUT_NO_PREV, with -DJUMP -DMUT_FIRST_LATE, with -DDOOR -DMUT_DOOR_NO_RECHECK, -DMUT_DOOR_TRAMPOLINE, -DMUT_DOOR_IS_PROOF, -DMUT_DOOR_OWN_COUNT,
 * and with -DFORK -DMUT_NO_IDENTITY_CHECK, -DMUT_NO_COMPLETING.
 *
 * -DLOCKED_COUNT: the increment of the count is a full barrier, as on x86_64. Without it a plain store that waits in the thread's store buffer: then
 * the membarrier alone must make the protocol right.
 * -DDOOR=n: threads wait in dispatch for a verdict at any time, and the engine reads the stacks of those that are there, n times (klp/door.h).
 * -DNESTED: a handler may be interrupted by another one; with -DJUMP that one may jump out of both, or back into the outer one.
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
byte nests = 1;
bool in_handler;		/* thread 0 has been interrupted */
bool in_nested;			/* and its handler too */
bool frozen;		/* the view is the fork child's */
#ifdef DOOR
bool clean[6];		/* [place of the mark * 2 + universe]: what a trace of thread 0 from that dispatch's frame finds */
#endif
chan killed = [0] of { bit };	/* the tool is, in this moment */
chan halt = [0] of { bit };	/* the process has forked, and it is the child that is looked at */
bool jumped;		/* thread 0 goes on behind its sigsetjmp */
#if defined(JUMP) && defined(NESTED)
#define INTO
#define OUT 1
#define INTO_HANDLER 2
byte left;		/* the inner handler has left the outer one by a jump: to the program, or to the outer one's own frame */
byte below;		/* klp_frames of what the outer one interrupted */
#endif

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

/* What may have left a store buffer by now. */
inline maybe_flush(i) {
	if
	:: buffered[i] -> flush(i)
	:: true
	fi
}

inline maybe_drain_verdict(i) {
	if
	:: verdict_buffered[i] && !frozen -> drain_verdict(i)
	:: true
	fi
}

/* A patched function is entered. The slot was read in the same step: a PC in a prefix is as unprovable as one in the function. */
inline enter(t, u) {
	frames[t * 2 + u]++;
	assert(frames[t * 2] == 0 || frames[t * 2 + 1] == 0);	/* mixed */
	assert(!done || frozen || u == final)			/* complete; in a fork child nobody completes */
}

#ifdef MUT_LOAD_FIRST
#define LOAD_FIRST atomic { maybe_drain_verdict(e); v = verdict[e] };
#define LOAD_AFTER given = ACTIVE(w) && MATCHES(v, w, FIRST, old)
#else
#define LOAD_FIRST
#define LOAD_AFTER \
		atomic { \
			maybe_drain_verdict(e); \
			v = verdict[e]; \
			given = ACTIVE(w) && MATCHES(v, w, FIRST, old); \
			v = 0 \
		}
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
#define TRACED_FROM_HERE(t) \
			if \
			:: t == 0 -> \
				clean[klp_frames[t] * 2 - 2] = frames[t * 2] == 0 && DOOR_TRACE(t); \
				clean[klp_frames[t] * 2 - 1] = frames[t * 2 + 1] == 0 && DOOR_TRACE(t) \
			:: else -> skip \
			fi;
/* The wait at the door: whenever it ends, the verdict is looked at once more. */
#define AT_DOOR \
		if \
		:: atomic { \
			!given && ACTIVE(w) && state[e] != TARGET(w) -> \
			flush(e); \
			maybe_drain_verdict(e); \
			v = verdict[e]; \
			given = MATCHES(v, w, old, old); \
			v = 0 \
		   }; \
		   if \
		   :: d_step { given -> flush(e); state[e] = TARGET(w); given = false; prev = 0; first = 0; old = 0 } \
		   :: d_step { !given -> first = 0; old = 0 } \
		   fi; \
		   TAKE_BASE \
		:: d_step { !given && (!ACTIVE(w) || state[e] == TARGET(w)) -> first = 0; old = 0 }; TAKE_BASE \
		:: d_step { given -> flush(e); state[e] = TARGET(w); given = false; first = 0; old = 0 }; TAKE_BASE \
		fi
#else
#define TRACED_FROM_HERE(t)
#define AT_DOOR \
		if \
		:: d_step { given -> flush(e); state[e] = TARGET(w); given = false; first = 0; old = 0 }; TAKE_BASE \
		:: NOT_GIVEN \
		fi
#endif
#ifdef MUT_NO_PREV	/* as if no other dispatch could be in progress */
#define PREV 0
#else
#define PREV prev
#endif
#ifdef MUT_STATE_ONCE
#define TAKE_BASE s = state[e]; base[e] = 0
#define NOT_GIVEN !given -> TAKE_BASE
#define STATE_LATE
#else
#define TAKE_BASE base[e] = 0
#define NOT_GIVEN d_step { !given -> base[e] = 0; first = 0; old = 0 }
#define STATE_LATE s = state[e];
#endif
#ifdef MUT_NO_IDENTITY_CHECK
#define SAME_THREAD(t) true
#else
#define SAME_THREAD(t) (me[t] == e)
#endif

/* claim(): one compare-and-swap of {tid, state}, so a look before it that found no entry is no step of its own; the mutation swaps the tid and stores
 * the state afterwards. */
#ifdef MUT_CLAIM_IN_TWO
#define CLAIM \
		if \
		:: atomic { s != NONE && !used[e] -> used[e] = true }; state[e] = s \
		:: else -> skip \
		fi;
#define CLAIM_AT_ONCE
#else
#define CLAIM
#define CLAIM_AT_ONCE \
			if \
			:: s != NONE -> used[e] = true; state[e] = s \
			:: else -> skip \
			fi; \
			s = 0
#endif

/*
 * klp_rt_livepatch, one access to shared memory a step, with what is local behind it. A signal handler may come between any two. A local variable that
 * is not read any more is 0.
 */
inline dispatch(t) {
	if
	:: atomic { ACTIVE(word) -> w = word }
	:: atomic { !ACTIVE(word) -> w = 0 };	/* pass() */
		atomic {
			if
			:: slot[x] != STUB -> u = slot[x]
			:: else -> u = BODY; w = word
			fi
		}
	fi;
	do
	:: d_step { !ACTIVE(w) -> leave(t) }; break
	:: atomic {	/* find(); claim() of a new thread, or of the fork child, which inherits */
			ACTIVE(w) ->
			e = me[t];
			if
			:: used[e] -> s = NONE
			:: !used[e] && e == 2 -> s = state[0]
			:: !used[e] && e != 2 -> s = SEALED(w) & TARGET(w)
			fi;
			w = 0;
			CLAIM_AT_ONCE
		};
		CLAIM
		/* decide() */
		LOAD_FIRST
		atomic {	/* in_sp, into the store buffer */
			maybe_flush(e);
			TRACED_FROM_HERE(t)
			prev = in_sp[e];
			in_sp[e] = klp_frames[t];
			buffered[e] = true
		}
		/* base, which only handlers of this thread read too: each of them leaves it 0 */
		if
		:: d_step { KEPT_BASE != 0 -> first = KEPT_BASE }
		:: d_step { KEPT_BASE == 0 -> first = count[e] + 1 }; base[e] = first
		fi;
		atomic {	/* count, into the store buffer */
			maybe_flush(e);
			buffered[e] = true;
			old = count[e];
			count[e]++;
			FULL_BARRIER
		}
		w = word;
		LOAD_AFTER;
		AT_DOOR;
		STATE_LATE
		d_step {	/* in_sp = prev */
			flush(e);
			in_sp[e] = PREV;
			in_sp_seen[e] = in_sp[e];
			prev = 0;
			u = ((w & COMPLETING) -> TARGET(w) : s);
			s = 0
		}
		if
		:: d_step {	/* over meanwhile: pass() again */
			!ACTIVE(w) -> u = ((slot[x] != STUB) -> slot[x] : BODY);
			leave(t)
		   }; break
		:: d_step { ACTIVE(w) && SAME_THREAD(t) -> leave(t) }; break
		:: d_step { ACTIVE(w) && !SAME_THREAD(t) -> u = 0; e = 0 }	/* a handler forked meanwhile and this is the child: again, as itself */
		fi
	od
}

/* Its function's first instruction. */
inline leave(t) {
	klp_frames[t]--;
	enter(t, u);
	top = u;
	forget()
}

#if SITES == 2
#define SOME_BODY (slot[0] != STUB || slot[1] != STUB)
#define SOME_STUB (slot[0] == STUB || slot[1] == STUB)
#define CHOOSE(is) \
		if \
		:: slot[0] is STUB -> skip \
		:: slot[1] is STUB -> x = 1 \
		fi
#else
#define SOME_BODY (slot[0] != STUB)
#define SOME_STUB (slot[0] == STUB)
#define CHOOSE(is) skip
#endif

/* Who calls: the program, its handler, or a handler of that one, which begins with this. */
#define PROGRAM 0
#define HANDLER 1
#define INNER 2
inline begin(who) {
#ifdef INTO
	below = ((who == HANDLER) -> klp_frames[0] : below);
#endif
	signals = signals - (who == HANDLER);
	nests = nests - (who == INNER);
	in_handler = in_handler || who == HANDLER;
	in_nested = in_nested || who == INNER
}

/* A call of one of the patched functions, up to its first instruction. */
inline call(t, who, may) {
	if
	:: atomic { may && SOME_BODY -> begin(who); CHOOSE(!=); u = slot[x]; enter(t, u); top = u; forget() }
	:: atomic { may && SOME_STUB -> begin(who); CHOOSE(==); klp_frames[t]++ };
	   dispatch(t)
	fi
}

inline forget() {
	x = 0; u = 0; w = 0; e = 0; old = 0; v = 0; s = 0; prev = 0; first = 0; given = false
}

#define LOCALS \
	byte x, u, w, e, old, v, s, prev, first; \
	bool given, top

inline thread(t) {
	alive[t] = true;
	do
	:: call(t, PROGRAM, calls > 0 && frames[t * 2] + frames[t * 2 + 1] < DEPTH);
	   atomic { calls--; top = 0 }
	:: d_step { frames[t * 2] > 0 -> frames[t * 2]-- }		/* return */
	:: d_step { frames[t * 2 + 1] > 0 -> frames[t * 2 + 1]-- }
	:: atomic { calls == 0 && frames[t * 2] + frames[t * 2 + 1] == 0 -> alive[t] = false; break }
	od
}

active proctype Thread0() provided (!in_handler) {
	byte calls = CALLS;
	LOCALS;

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
	LOCALS;

	me[1] = 1;
	thread(1)
}
#endif

#if SIGNALS
/* siglongjmp: to any frame that the thread has, or out of all. */
inline jump() {
	atomic {
		klp_frames[0] = 0;
		do
		:: frames[0] > 0 -> frames[0]--
		:: frames[1] > 0 -> frames[1]--
		:: break
		od;
		top = 0; jumped = true; in_handler = false;
#ifdef INTO
		left = (in_nested -> OUT : left);
		below = 0;
#endif
		in_nested = false
	}
}

/* A signal handler on thread 0's stack, between any two steps of dispatch or of the program; it calls a patched function. */
active proctype Handler() provided (!in_nested) {
	LOCALS;

#ifdef INTO
end_again:	{
#endif
end:	do
	:: call(0, HANDLER, signals > 0 && alive[0]);
#ifdef JUMP
	   if
	   :: atomic { frames[top]--; top = 0; in_handler = false }
	   :: jump()
	   fi
	:: atomic { signals > 0 && alive[0] -> signals--; in_handler = true; jump() }
#else
	   atomic { frames[top]--; top = 0; in_handler = false }
#endif
	od
#ifdef INTO
	} unless {
		d_step {	/* the inner one has left it, or its dispatch: then it returns */
			left != 0 ->
			if
			:: left == INTO_HANDLER && klp_frames[0] == below -> frames[top]--
			:: else -> skip
			fi;
			klp_frames[0] = ((left == INTO_HANDLER) -> below : klp_frames[0]);
			in_handler = (left != INTO_HANDLER && in_handler);
			left = 0;
			below = 0;
			forget();
			top = 0
		};
		goto end_again
	}
#endif
}

#ifdef NESTED
active proctype Nested() {
	LOCALS;

#ifdef JUMP
end:	do
	:: call(0, INNER, in_handler && left == 0 && nests > 0);
	   if
	   :: atomic { frames[top]--; top = 0; in_nested = false }
	   :: jump()
	   :: atomic { frames[top]--; top = 0; left = INTO_HANDLER; in_nested = false }
	   fi
	:: atomic {
		in_handler && left == 0 && nests > 0 -> begin(INNER);
		if
		:: jump()
		:: left = INTO_HANDLER; in_nested = false
		fi
	   }
	od
#else
end:	call(0, INNER, in_handler && nests > 0);
	atomic { frames[top]--; top = 0; in_nested = false }
#endif
}
#endif
#endif

#ifdef FORK
/* At any moment: by the program, or by the handler that interrupted it. */
active proctype Fork() provided (alive[0] && !frozen) {
end:	halt ! 0
}
#endif

/* What the child has; what only the others would look at is gone. */
inline fork() {
	flush(0);
	maybe_drain_verdict(0);
	d_step {
		verdict_buffered[0] = false; verdict_next[0] = 0; verdict_buffered[1] = false; verdict_next[1] = 0; verdict[1] = 0;
		count[1] = 0; count_seen[0] = 0; count_seen[1] = 0; in_sp[1] = 0; in_sp_seen[0] = 0; in_sp_seen[1] = 0; buffered[1] = false;
		base[1] = 0
	};
	me[0] = 2;
	frozen = true
}

/* The helper's membarriers, by what they stand behind. */
#define membarrier() d_step { flush(0); flush(1); drain_verdict(0); drain_verdict(1) }
#define S_WORD membarrier()
#define S_SLOTS membarrier()
#define S_SEAL membarrier()
#define S_VERDICT membarrier()
#define S_REVERSAL membarrier()
#define S_COMPLETING membarrier()
#define S_FINAL membarrier()
#ifdef MUT_NO_S_WORD
#undef S_WORD
#define S_WORD skip
#endif
#ifdef MUT_NO_S_SLOTS
#undef S_SLOTS
#define S_SLOTS skip
#endif
#ifdef MUT_NO_S_SEAL
#undef S_SEAL
#define S_SEAL skip
#endif
#ifdef MUT_NO_S_VERDICT
#undef S_VERDICT
#define S_VERDICT skip
#endif
#ifdef MUT_NO_S_REVERSAL
#undef S_REVERSAL
#define S_REVERSAL skip
#endif
#ifdef MUT_NO_S_COMPLETING
#undef S_COMPLETING
#define S_COMPLETING skip
#endif
#ifdef MUT_NO_S_FINAL
#undef S_FINAL
#define S_FINAL skip
#endif

inline insert(k, u) {	/* KLP_OP_INSERT: a compare-and-swap as well */
	d_step {
		if
		:: !used[k] -> used[k] = true; state[k] = u
		:: else -> skip
		fi
	}
}

#ifdef MUT_VERDICT_EARLY
#define SECOND_SITE_EARLY skip
#define SECOND_SITE_LATE slot[1] = STUB; S_SLOTS
#else
#define SECOND_SITE_EARLY slot[1] = STUB
#define SECOND_SITE_LATE skip
#endif
#ifdef MUT_SEALED_EARLY
#define SEAL_EARLY word = word | 4; S_SEAL
#else
#define SEAL_EARLY skip
#endif

#ifdef MUT_COUNT_LATE
#define COUNT_EARLY c = 0
#define COUNT_LATE maybe_flush(k); c = count_seen[k]
#else
#define COUNT_EARLY maybe_flush(k); c = count_seen[k]
#define COUNT_LATE skip
#endif

#define PROVABLE(k) (klp_frames[k] == 0 && frames[k * 2 + 1 - TARGET(word)] == 0)
#ifdef SAMPLED
#define SWITCHED_OUT(k) skip
#else
#define SWITCHED_OUT(k) flush(k)
#endif

/* Has thread k moved, or will it at its next dispatch? Every answer may come from any of these looks, in any order. */
inline prove(k) {
	if
	:: atomic { !proven[k] && !alive[k] -> proven[k] = true }	/* not in /proc/PID/task: gone, or not born (then it starts in the target universe) */
	/* Born after the list was made and never dispatched; it may be in claim() now. */
	:: atomic {
		!proven[k] && alive[k] && !used[k] ->
#ifdef MUT_NO_ENTRY_IS_DONE
		proven[k] = true
#else
		insert(k, TARGET(word))
#endif
	   }
	/* It has arrived, and was in no dispatch before. */
#ifdef MUT_STATE_BEFORE_SP
	:: atomic { !proven[k] && used[k] && state[k] == TARGET(word) -> skip };
	   atomic {
		maybe_flush(k);
		proven[k] = in_sp_seen[k] == 0
	   }
#else
	:: atomic { !proven[k] && alive[k] && used[k] -> maybe_flush(k); ok = in_sp_seen[k] == 0 };
	   d_step { proven[k] = ok && state[k] == TARGET(word); ok = false }
#endif
	/* The proof: atomic, because the switch counters and the system call are the same before and after it; the thread was switched out meanwhile, so
	 * its store buffer is empty. A sample is one interrupt, and empties nothing. */
	:: atomic { !proven[k] && alive[k] && used[k] -> COUNT_EARLY };
	   if
	   :: d_step { PROVABLE(k) -> SWITCHED_OUT(k) };
#ifdef MUT_COUNT_LATE
	      atomic { COUNT_LATE };
#endif
#ifdef MUT_ENGINE_APPLIES
	      state[k] = TARGET(word);
	      proven[k] = true
#else
	      d_step { drain_verdict(k); verdict_next[k] = VERDICT(GEN(word), c); verdict_buffered[k] = true };
	      S_VERDICT;
#ifdef MUT_NO_RECHECK
	      proven[k] = true
#else
	      atomic {
		maybe_flush(k);
		proven[k] = count_seen[k] == c;
		c = 0
	      }
#endif
#endif
	   :: d_step { !PROVABLE(k) -> c = 0 }
	   fi
	fi
}

/* Thread k is in dispatch: its mark and count are the same before and after its stack is read, from the frame that the mark names. */
#ifdef DOOR
#ifdef MUT_DOOR_NO_RECHECK
#define DOOR_AGAIN c = count_seen[k]
#else
#define DOOR_AGAIN skip
#endif
#ifdef MUT_DOOR_OWN_COUNT
#define DOOR_COUNT c
#else
#define DOOR_COUNT (c - 1)
#endif
inline door(k) {
	atomic {
		doors > 0 && !proven[k] && used[k] && (buffered[k] || in_sp_seen[k] != 0) -> doors--;
		maybe_flush(k);
		c = count_seen[k]
	};
	d_step { i = in_sp_seen[k] };
	if
	:: atomic {
		i != 0 && c > 0 && clean[i * 2 - 1 - TARGET(word)] -> ok = true
	   };
	   atomic {
		maybe_flush(k);
		DOOR_AGAIN;
		ok = in_sp_seen[k] == i && c == count_seen[k];
		i = 0
	   };
	   if
	   :: d_step { ok -> drain_verdict(k); verdict_next[k] = VERDICT(GEN(word), DOOR_COUNT); verdict_buffered[k] = true; c = 0; ok = false };
#ifdef MUT_DOOR_IS_PROOF
	      proven[k] = true
#endif
	   :: d_step { !ok -> c = 0 }
	   fi
	:: d_step { else -> c = 0; i = 0 }
	fi
}
#endif

#if DEATHS
/* kill -9 of the tool at any moment. */
active proctype Killer() provided (!frozen) {
end:	killed ! 0
#if DEATHS > 1
	;
end2:	killed ! 0
#endif
}
#endif

inline reset() {
	proven[0] = false; proven[1] = false; listed[0] = false; listed[1] = false; i = 0; c = 0; ok = false
}

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
		:: atomic { !ACTIVE(word) -> word = W(1, 1, 0); S_WORD }
		:: ACTIVE(word)
		fi;
		if
		:: !SEALED(word) ->
			slot[0] = STUB;
			SECOND_SITE_EARLY;
			S_SLOTS;
			d_step { listed[0] = alive[0]; listed[1] = alive[1] };
			SEAL_EARLY;
			if
			:: d_step { listed[0] -> insert(0, 0) }
			:: !listed[0]
			fi;
			if
			:: d_step { listed[1] -> insert(1, 0) }
			:: !listed[1]
			fi;
			word = word | 4; S_SEAL
		:: SEALED(word)
		fi;
		d_step { listed[0] = false; listed[1] = false };
		do
		:: prove(0)
#if CALLS1
		:: prove(1)
#endif
#ifdef DOOR
		:: door(0)
#endif
		:: atomic {	/* one request: no kill of the tool comes between the word and its membarrier */
				reversals > 0 ->
				d_step { reversals--; proven[0] = false; proven[1] = false; word = W(GEN(word) + 1, 1 - TARGET(word), 1) };
				S_REVERSAL
			}
		:: proven[0] && (proven[1] || !CALLS1) -> break
		od;
		SECOND_SITE_LATE;
		goto complete
	} unless {
		atomic {
			if
			:: killed ? _ ->
				/* All that the tool knew is lost. The helper ends the request that it has begun; what is in its store buffer goes out. */
				reset();
				goto resume
			:: halt ? _ ->
				reset();
				fork();
				goto halted
			fi
		}
	}

	/* One request of the helper: a kill of the tool does not interrupt it. */
complete:
	{
		atomic {
			final = TARGET(word);
			done = true;
			assert(frames[1 - final] == 0 && frames[2 + 1 - final] == 0)	/* complete */
		}
#ifndef MUT_NO_COMPLETING
		word = word | COMPLETING;
		S_COMPLETING;
#endif
		slot[0] = final;
		slot[1] = final;
		S_FINAL;
		word = 0
	} unless {
		atomic { halt ? _ -> fork() }
	}
halted:
end:	do
	:: atomic { halt ? _ -> fork() }
	od
}
