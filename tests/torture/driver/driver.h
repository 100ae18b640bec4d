/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The torture's driver: runs klpctl on the target, kills it, and looks at the target's counters after every step. What
 * a step does is drawn from {seed, number of the step} alone, so that a seed gives the same sequence on every run,
 * whatever the tools did.
 */
#ifndef TORTURE_DRIVER_H
#define TORTURE_DRIVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/torture/target/shared.h"

#define MODULES 11
#define PATCHES 64   /* loaded ones, and forced ones that stay */
#define FORCED_MAX 4 /* in one life of the target */
#define GROUP_LETTERS "ABCLP"
#define TOOL_HANG_S 90  /* no klpctl of ours may take this long */
#define EXIT_HANG_S 600 /* nor one that the kernel is ending: see tool_ends() */
#define TARGET_HANG_S 30

enum action {
	ACT_TOGGLE,
	ACT_REPLACE,
	ACT_KILL,
	ACT_SHORT,
	ACT_HOLD,
	ACT_TWO,
	ACT_LOOK,
	ACT_PLUGIN,
	ACT_FORCE,
	ACTIONS
};

struct module {
	const char *name, *file;
	unsigned version[TORTURE_GROUPS]; /* 0: does not touch the group */
	uint32_t opening;                 /* the plug-in's phase for which it is known to have been loaded, or 0 */
};

struct patch {
	const struct module *m;
	char state[16];
	uint64_t text; /* a replacement's address */
	bool in_transition, forced;
	bool gone; /* its part of the plug-in: that has been closed since */
};

/* One klpctl. */
struct tool {
	pid_t pid;
	int fd, out, err; /* pidfd; its output */
	int status;       /* of waitpid */
	bool killed, ended, late;
	bool lines; /* prints an object a line, as klpctl watch does */
	json_t *json;
	char command[256];
};

struct torture {
	uint64_t seed, step, draws, transitions, reversals, completed, tools, kills, pending_exits, busy_exits, looks,
	    holds, late, forces, watches, moved_under, met_another;
	uint64_t longest_stop_us, early_returns, stopped_threads;
	const char *dir, *klpctl, *kinds;
	unsigned weight[ACTIONS];
	int phase; /* -1: drawn */
	unsigned late_in_a_row;
	bool verbose, keep;
	struct module module[MODULES];
	pid_t pid;
	struct torture_shared *shared;
	int shared_fd;
	struct patch patch[PATCHES]; /* bottom first, as the last status had them */
	unsigned patches;
	uint32_t pending[TORTURE_WORKERS]; /* tids that the transition in flight waits for */
	unsigned pendings;
	bool pending_known;
	uint64_t forced[FORCED_MAX]; /* replacements that must stay mapped */
	unsigned forced_count;
	bool forcing;                            /* threads that were left behind may mix */
	uint64_t mixed_by_force, wrong_by_force; /* what they did, all told */
	bool runtime;
	uint64_t began_ns;
};

extern struct torture torture;

/* main.c */
uint64_t draw(uint64_t bound);
uint64_t now_ns(void);
void sleep_us(uint64_t us);
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* tool.c */
void tool_start(struct tool *t, const char *arg, ...) __attribute__((sentinel));
void tool_kill(struct tool *t, uint64_t after_us);
int tool_wait(struct tool *t);        /* exit code, 5 also for a helper that was late; 128 + signal */
void tool_said(const struct tool *t); /* prints what it has printed so far, for a failure */
void tool_close(struct tool *t);
int64_t tool_number(const struct tool *t, const char *key);     /* an integer of it, or -1 */
const char *tool_result(const struct tool *t, const char *key); /* a string of the first process, or "" */
void tool_toggle(struct tool *t, const struct module *m, bool load, const char *timeout);

/* target.c */
void target_start(void);
void target_mode(uint32_t mode);
void target_hold(int group); /* -1: let go */
void target_check(void);     /* alive, and every counter of harm is 0 */
void target_progress(void);  /* every thread that is to run does */
void target_begin(void);     /* from here on, everything that the shapes do is to happen... */
void target_happened(void);  /* ...and has */
void target_stop(void);
char *target_maps(void);
uint64_t target_text(const char *maps); /* a digest of every byte of text that they name */
/* What the plug-in is to do; of PLUGIN_OPEN and PLUGIN_CLOSED also waits until it is so, if `wait`. */
void target_plugin(enum torture_plugin order, bool wait);
uint32_t target_plugin_phase(void);

/* model.c */
void model_read(void); /* klpctl status */
bool model_try(void);  /* beside a tool: false if it finds what that takes away, or what changes under its eyes */
bool model_has(const struct module *m);
bool model_has_gone(void);                    /* a patch of the plug-in as it was before it was closed */
bool model_is_remains(const struct patch *p); /* unloaded, and kept in memory by a force */
unsigned model_live(void);                    /* patches that are not */
const struct module *model_transition(bool *patching);
unsigned model_version(unsigned group);
void model_settled(void);        /* remembers who must not be called any more */
void model_check(bool liveness); /* and looks that nobody was */
void model_settle(void);         /* ends what is in flight, either way */

/* actions.c */
void act(enum action a);
const char *action_name(enum action a);
void unload_all(void);
const struct module *any_module(void); /* whose load and unload succeed now */
void unexpected(const struct tool *t, int rc) __attribute__((noreturn));
void finish(const struct module *m, bool load); /* to its end, over as many timeouts as it takes */
uint64_t draw_instant(void);
/* A group that m changes, and in whose version a thread can be kept; -1: there is none. */
int draw_held_group(const struct module *m, bool load);

/* plugin.c */
void act_plugin(void);

/* force.c */
void act_force(void);
void force_check_memory(void); /* what was forced is mapped */

/* life.c: one process of the target */
void life_begin(void);
void life_end(void); /* everything is unloaded, and nothing left but what was forced */

#endif
