/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the torture's target and its driver share: a memory file that the driver makes and the target maps. The target
 * counts, the driver looks; the driver sets the mode, the target follows. Every counter only grows.
 */
#ifndef TORTURE_SHARED_H
#define TORTURE_SHARED_H

#include <stdint.h>

#define TORTURE_FD 3 /* the memory file's descriptor in the target */
#define TORTURE_GROUPS 4
#define TORTURE_VERSIONS 8 /* 0 is nobody's */
#define TORTURE_WORKERS 64
#define TORTURE_REPORTS 32

/* The groups of functions that share a contract. The last one lives in the shared object. */
enum torture_group { TORTURE_A, TORTURE_B, TORTURE_C, TORTURE_L };

enum torture_mode {
	TORTURE_PARK,  /* every thread waits outside of all groups, and holds nothing that it could free */
	TORTURE_CALM,  /* only threads that block most of the time */
	TORTURE_STORM, /* and those that spin, recurse without a pause, take signals, jump, are born and die */
	TORTURE_QUIT
};

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
	uint64_t rounds;
	uint64_t calls[TORTURE_GROUPS][TORTURE_VERSIONS]; /* entries into functions of that version, children's apart */
};

struct torture_shared {
	uint32_t mode;     /* D  enum torture_mode; a futex */
	uint32_t hold;     /* D  0, or 1 + the group in which the holder waits; a futex */
	uint32_t held;     /* T  1: the holder waits inside */
	uint32_t parked;   /* T  threads that wait in TORTURE_PARK */
	uint32_t threads;  /* T  threads that park, all told; 0 until all are there */
	uint32_t reported; /* T  reports written */
	uint64_t mixed;    /* two versions of one group in one thread at once */
	uint64_t wrong;    /* a result that neither version gives */
	uint64_t eintr;    /* a call that ended with EINTR and was not to */
	uint64_t brief;    /* a transfer that was cut short */
	uint64_t early;    /* a wait that ended before its time */
	uint64_t broken;   /* any other failure */
	uint64_t forks, execs, births, signals, jumps, mappings, transfers; /* what happened, for the record */
	uint64_t child_calls[TORTURE_GROUPS][TORTURE_VERSIONS];
	struct torture_report report[TORTURE_REPORTS];
	struct torture_worker worker[TORTURE_WORKERS];
};

#endif
