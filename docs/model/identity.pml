/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose state has a thread that dispatches (klp/runtime/dispatch.c: find, find_bound, find_parent, enter; klp/adopt.c):
 * threads are born and end, their stacks, and so their thread pointers, and their tids come again; they fork and vfork,
 * also in handlers that interrupt a dispatch anywhere; children do the same, and a tool may take such a child over. A
 * child wakes up on its caller's stack, with the caller's frames, under a tid that the table does not have, or has of a
 * task that is no more.
 *
 * What klp.pml shows of verdicts is taken for granted: an entry moves only while no function of the patch is on the
 * stack of the thread that dispatches by it. What happens behind a fork in the parent and what happens in the child
 * cannot meet, so a fork is one of the two: the process goes on as the child, with that thread alone, or as before.
 * Threads of one process share nothing of this but the places of the table, so a dispatch is one step but for the
 * handlers that interrupt it.
 *
 * Property, as an assertion:
 *   mixed      no thread decides for another universe than that of the frames that are on its stack
 *
 *   -DKNOWN=1  the tid lies in the thread control block; a vfork child finds its parent's there. 0: the kernel is asked
 *   -DACTS=N   how much happens; -DHANDLERS=0, -DFORKS=0, -DVFORKS=0, -DBIRTHS=0, -DENDS=0, -DTOOLS=0: what does not
 *   -DPARENT_ENDS   the tid of the thread that forked comes again in the child: a known limit (docs/safety.md)
 *
 * Seeded mutations: tests/model/CMakeLists.txt. What each takes away stands in docs/model/README.md.
 */
#ifndef KNOWN
#define KNOWN 1
#endif
#ifndef ACTS
#define ACTS 5
#endif
#ifndef HANDLERS
#define HANDLERS 1
#endif
#ifndef FORKS
#define FORKS 1
#endif
#ifndef VFORKS
#define VFORKS 1
#endif
#ifndef BIRTHS
#define BIRTHS 1
#endif
#ifndef ENDS
#define ENDS 1
#endif
#ifndef TOOLS
#define TOOLS 1
#endif

/* Thread pointers. */
#define A 1
#define B 2
#define FOREIGN 3 /* KLP_TP_FOREIGN */

#define TIDS 4
#define NONE TIDS
#define PROCS 16

/* The table: one probe sequence. */
byte etid[TIDS], etp[TIDS], ebound[TIDS], eparent[TIDS];
bit euniverse[TIDS];
bool eof[TIDS];		/* its state belongs to this transition */
byte bindings;
byte cbpid = 9;		/* cb->pid */

/* Ghosts. */
byte life;		/* grows with each fork; who is of an older one is not in this process */
byte lives[PROCS];	/* by _pid */
byte process = 9;	/* what getpid says here */
byte acts;
bool alive[TIDS + 1];
bool other;		/* there has been a thread on stack B */
bit sealed;

inline take_tid(t)
{
	if
	:: !alive[1] -> t = 1
	:: !alive[2] -> t = 2
	:: !alive[3] -> t = 3
	:: !alive[4] -> t = 4
	fi;
	alive[t] = true
}

inline find(t, r)
{
	r = 0;
	do
	:: r < TIDS && etid[r] != t && etid[r] != 0 -> r++
	:: r < TIDS && etid[r] == t -> break
	:: r == TIDS || etid[r] == 0 -> r = NONE; break
	od
}

inline claim(t, u, r)
{
	find(t, r);
	if
	:: r == NONE ->
		r = 0;
		do
		:: etid[r] != 0 -> r++
		:: else -> break
		od;
		etid[r] = t;
		euniverse[r] = u;
		eof[r] = true
	:: else
	fi
}

#define BETTER(i, r) (etid[i] != 0 && etp[i] == tp && (r == NONE || ebound[i] > ebound[r]))
inline find_bound(r)
{
	r = NONE;
	i = 0;
	do
	:: i < TIDS ->
		if
		:: r == NONE && etid[i] != 0 && etp[i] == tp -> r = i
		:: r != NONE && BETTER(i, r) -> r = i
		:: else
		fi;
		i++
	:: else -> break
	od;
#ifndef MUT_EARLIER_ONES_TOO
	if
	:: r != NONE && !eof[r] -> r = NONE
	:: else
	fi
#endif
}

inline find_parent(r)
{
	if
	:: e == NONE -> find_bound(r)
	:: e != NONE ->
		if
		:: etp[e] != FOREIGN || !eof[e] -> find_bound(r)
		:: else ->
			r = eparent[e];
			if
#ifdef MUT_NOBODY_IS_REMEMBERED
			:: r == NONE
#endif
#ifdef MUT_UNCHECKED
			:: r != NONE
#endif
			:: r != NONE && etp[r] == tp && ebound[r] == ebound[e]
			:: else -> find_bound(r)
			fi
		fi
	fi
}

/* A verdict may be in force for an entry of this transition, if nothing of the patch is on the stack. */
inline may_move(r)
{
	if
	:: !on && eof[r] -> euniverse[r] = 1
	:: true
	fi
}

/* A signal handler of this very thread, which may call, fork and vfork. */
inline interrupted()
{
	if
	:: HANDLERS && !handler && acts + 1 < ACTS ->
		acts++;
		t = run Task(tid, tp, on, u, vfork, ptid, true, back);
		lives[t] = life;
		back ? _
	:: true
	fi
}

inline forget()
{
	e = 0; p = 0; i = 0; t = 0; universe = 0; initial = 0
}

/* Whoever waits for it goes on. */
inline stopped()
{
	if
	:: vfork || handler -> ret ! 0
	:: else
	fi
}

/*
 * on, u: whether frames of the patch are on the stack, and of which universe; when the task ends, its own are gone. vfork:
 * a vfork child, whose control block holds ptid. handler: no thread but a handler of one.
 */
proctype Task(byte tid; byte tp; bool on; bit u; bool vfork; byte ptid; bool handler; chan ret)
	provided (lives[_pid] == life)
{
	chan back = [1] of { bit };
	byte e, p, i, t, me, mypid;
	bit universe, initial;

	atomic {
		mypid = process; /* a vfork child in whose control block is the parent's tid goes by the parent's pid */
#ifdef MUT_VFORK_IS_OWN
		if
		:: vfork && KNOWN -> mypid = cbpid
		:: else
		fi;
#endif
		me = tid;
		if
		:: vfork && KNOWN -> me = ptid
		:: vfork && !KNOWN -> mypid = tid
		:: else
		fi
	};
	do
	:: atomic { acts >= ACTS || vfork || handler -> stopped(); break }
	:: atomic {	/* a call */
		acts < ACTS ->
		acts++;
		find(me, e);
		if
		:: e != NONE ->
			if
			:: etp[e] == tp && eof[e] -> goto decide
			:: else
			fi
		:: else
		fi;
		interrupted();
		/* Not what it was: the handler's dispatch may have made the entry. */
		find(me, e);
#ifdef MUT_NO_PID
		goto own;
#endif
		if
		:: mypid == cbpid -> goto own
		:: else -> goto child
		fi;
own:
		initial = sealed;
		claim(me, initial, e);
		interrupted();
		if
		:: !eof[e] -> eof[e] = true; euniverse[e] = initial
		:: else
		fi;
bind:
		if
		:: etp[e] == tp -> goto decide
		:: else
		fi;
#ifdef MUT_TP_FIRST
		etp[e] = tp;
		interrupted();
		bindings++;
		ebound[e] = bindings;
#else
		bindings++;
		ebound[e] = bindings;
		interrupted();
#endif
#ifndef MUT_DUPLICATES
		i = 0;
		do
		:: i < TIDS ->
			if
			:: i != e && etp[i] == tp -> etp[i] = 0
			:: else
			fi;
			i++
		:: else -> break
		od;
		interrupted();
#endif
		etp[e] = tp;
		goto decide;
child:
		find_parent(p);
		initial = 0;
		if
		:: p != NONE ->
			may_move(p);
			if
			:: eof[p] -> initial = euniverse[p]
			:: else
			fi
		:: else
		fi;
		interrupted();
		claim(me, initial, e);
		interrupted();
		if
		:: e != p -> eof[e] = true; euniverse[e] = initial
		:: else
		fi;
		interrupted();
		if
		:: KNOWN ->
#ifndef MUT_ANYBODY_NAMES
			if
			:: me == mypid -> cbpid = mypid
			:: else
			fi;
#else
			cbpid = mypid;
#endif
			goto bind
		:: !KNOWN && e != p ->
			etp[e] = 0;
			interrupted();
			if
			:: p != NONE -> ebound[e] = ebound[p]
			:: else -> ebound[e] = 0
			fi;
			interrupted();
			eparent[e] = p;
			interrupted();
			etp[e] = FOREIGN
		:: else
		fi;
decide:
		interrupted();
		if
		:: mypid == cbpid || KNOWN -> may_move(e)
		:: else
		fi;
		if
		:: eof[e] -> universe = euniverse[e]
		:: else -> universe = 0
		fi;
		assert(!on || universe == u);
		if
		:: on = true; u = universe	/* it is inside now */
		:: true				/* and out again */
		fi;
		forget()
	}
	/* fork: this process is the child from now on. What was interrupted is not looked at any more. */
	:: atomic { FORKS && acts < ACTS ->
		acts++;
		take_tid(t);
		d_step { lives[_pid] = life + 1; life++ };
#ifdef PARENT_ENDS
		alive[tid] = false;
#endif
		tid = t;
		me = t;
		process = t;
		mypid = t;
		vfork = false;
		handler = true;
		forget()
		}
	:: atomic { VFORKS && acts < ACTS && !vfork ->
		acts++;
		take_tid(i);
		t = run Task(i, tp, on, u, true, me, handler, back);
		lives[t] = life;
		back ? _;
		alive[i] = false;
		forget()
		}
	:: atomic { BIRTHS && acts < ACTS && !vfork && !other && tp == A ->
		acts++;
		other = true;
		take_tid(i);
		t = run Task(i, B, false, 0, false, 0, false, ret);
		lives[t] = life;
		forget()
		}
	/* A tool takes the process over while the thread that is the copy waits; that one has the pid for its tid. */
	:: atomic { TOOLS && !vfork && tid == process && cbpid != process ->
#ifndef MUT_ADOPT_NAMES_FIRST
		find_bound(p);
		universe = 0;
		if
		:: p != NONE ->
			if
			:: eof[p] -> universe = euniverse[p]
			:: else
			fi
		:: else
		fi;
		claim(tid, universe, e);
#ifndef MUT_ADOPT_KEEPS
		eof[e] = true;
		euniverse[e] = universe;
#endif
#endif
		cbpid = process;
		forget()
		}
	/* It ends; its stack is another thread's. */
	:: atomic { ENDS && acts < ACTS && !vfork && !handler && tp == A ->
		acts++;
		alive[tid] = false;
		take_tid(t);
		tid = t;
		me = t;
		on = false;
		forget()
		}
	od
}

init
{
	chan nobody = [1] of { bit };

	atomic {
		if
		:: sealed = 0
		:: sealed = 1
		fi;
		/* An entry of an earlier transition, of a thread that is no more. */
		if
		:: etid[0] = 4; etp[0] = A; bindings = 1; ebound[0] = 1
		:: true
		fi;
		alive[1] = true;
		run Task(1, A, false, 0, false, 0, false, nobody)
	}
}
