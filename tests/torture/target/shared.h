/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the torture's target and its driver share: a memory file that the driver makes and the target maps. The target
 * counts, the driver looks; the driver sets the mode, the target follows. Every counter only grows.
 */
#ifndef TORTURE_SHARED_H
#define TORTURE_SHARED_H

#include <stdint.h>

#define TORTURE_FD 3 /* the memory file's descriptor in the target */
#define TORTURE_GROUPS 5
#define TORTURE_RESIDENT 4 /* the first groups: the objects that hold them are never closed */
#define TORTURE_VERSIONS 8 /* 0 is nobody's */
#define TORTURE_WORKERS 64
#define TORTURE_REPORTS 32

/* The groups of functions that share a contract. L lives in a shared object, P in one that is opened and closed. */
enum torture_group { TORTURE_A, TORTURE_B, TORTURE_C, TORTURE_L, TORTURE_P };

enum torture_mode {
	TORTURE_PARK,  /* every thread waits outside of all groups, and holds nothing that it could free */
	TORTURE_CALM,  /* only threads that block most of the time */
	TORTURE_STORM, /* and those that spin, recurse without a pause, take signals, jump, are born and die */
	TORTURE_QUIT
};

/* What becomes of the plug-in, and which of its four phases it is in. */
enum torture_plugin { PLUGIN_CLOSED, PLUGIN_OPEN, PLUGIN_COMES_AND_GOES };
enum torture_plugin_phase { PHASE_CLOSED, PHASE_OPENING, PHASE_OPEN, PHASE_CLOSING, PHASE_COUNT };

enum torture_kind {
	KIND_MAIN,
	KIND_READ,
	KIND_FUTEX,
	KIND_EPOLL,
	KIND_SLEEP,
	KIND_IDLE,
	KIND_RECURSE,
	KIND_HOLD,
	KIND_FORK,
	KIND_SPAWN,
	KIND_EXEC,
	KIND_CHURN,
	KIND_PLUGIN,
	KIND_WRITE,
	KIND_SPIN,
	KIND_SIGNALLED,
	KIND_JUMP,
	KIND_BORN,
	KIND_FEEDER,
	KIND_DRAIN,
	KIND_SIGNALLER,
	KIND_COUNT
};

/* One observation of two versions at once. */
struct torture_report {
	uint32_t pid, tid, kind, group, outer, inner, where, child;
};

struct torture_worker {
	uint32_t tid, kind;
	uint32_t order; /* the last order of the plug-in that it has carried out */
	uint64_t rounds;
	uint64_t harm;                                    /* its part of mixed and wrong, its children's included */
	uint64_t calls[TORTURE_GROUPS][TORTURE_VERSIONS]; /* entries into functions of that version, children's apart */
};

struct torture_shared {
	uint32_t mode;     /* D  enum torture_mode; a futex */
	uint32_t hold;     /* D  0, or 1 + the group in which the holder waits; a futex */
	uint32_t held;     /* T  1: the holder waits inside */
	uint32_t parked;   /* T  threads that wait in TORTURE_PARK */
	uint32_t order;    /* D  PHASE_COUNT * a number + enum torture_plugin */
	uint32_t plugin;   /* T  PHASE_COUNT * how often it was closed + enum torture_plugin_phase */
	uint32_t threads;  /* T  threads that park, all told; 0 until all are there */
	uint32_t reported; /* T  reports written */
	uint64_t mixed;    /* two versions of one group in one thread at once */
	uint64_t wrong;    /* a result that neither version gives */
	uint64_t eintr;    /* a call that ended with EINTR and was not to */
	uint64_t brief;    /* a transfer that was cut short */
	uint64_t early;    /* a wait that ended before its time */
	uint64_t broken;   /* any other failure */
	uint64_t forks, execs, births, signals, jumps, mappings, transfers,
	    openings; /* what happened, for the record */
	uint64_t child_calls[TORTURE_GROUPS][TORTURE_VERSIONS];
	struct torture_report report[TORTURE_REPORTS];
	struct torture_worker worker[TORTURE_WORKERS];
};

#endif
