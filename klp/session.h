/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One command on one process: the process, the runtime in it, the control block's copy, the patches, the unwinder's
 * tables. Private to klp/.
 */
#ifndef KLP_SESSION_H
#define KLP_SESSION_H

#include "klp/include/klp/klp.h"
#include "klp/patch.h"
#include "klp/process.h"
#include "klp/remote.h"
#include "unwind/unwind.h"

/* The part of the control block that describes patches and mappings; ops, frames and threads are read where they are
 * needed. */
#define KLP_CB_HEAD offsetof(struct klp_rt_cb, ops)

/* A mapping of a file that can be executed. */
struct klp_text {
	uint64_t start, end, offset, inode;
	unsigned dev_major, dev_minor;
};

struct klp_session {
	struct klp_process p;
	struct klp_remote r;
	struct klp_options opt;
	uint64_t began_ns;
	bool remote_started;     /* the helper runs or ran: end it before leaving */
	struct klp_rt_cb *cb;    /* copy; valid up to KLP_CB_HEAD; NULL when there is no runtime */
	struct klp_patch *patch; /* klp_patches_read */
	size_t patch_count;
	struct klp_unw_space *space; /* klp_tables_build */
	struct klp_text *text;       /* the objects' text that its rows are for */
	size_t text_count;
	json_t *pending;   /* array: the threads that hold the operation up */
	json_t *callbacks; /* array: those that this command has run */
	size_t threads;    /* in the last sweep */
	bool no_schedstat; /* this kernel does not count there (klp_prove_blocked) */
	struct {
		bool denied; /* the kernel permits no pictures of threads */
		bool seen;   /* one has been taken */
		uint64_t tried_at;
		struct klp_sample *sample;
		uint64_t until, gap_max;
	} sampling; /* klp/running.c */
};

enum { KLP_SESSION_READ, KLP_SESSION_CHANGE };

/* Opens the process; for KLP_SESSION_CHANGE takes the lock and checks that it may be changed. Looks for a runtime and
 * reads the control block. */
int klp_session_open(struct klp_session *s, pid_t pid, int how, const struct klp_options *o, struct klp_error *e);
/* Ends the helper if this session started it. */
void klp_session_close(struct klp_session *s);
/* Starts the helper (making the runtime if there is none) and reads the control block again. */
int klp_session_start(struct klp_session *s, struct klp_error *e);
int klp_session_read_cb(struct klp_session *s, struct klp_error *e);

/* Stores a piece of the control block, by offset; engine-side words only. */
int klp_session_write_cb(struct klp_session *s, size_t offset, const void *buf, size_t len, struct klp_error *e);

void klp_log(const struct klp_session *s, int level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The result object of one process: rc as returned by the operation. */
json_t *klp_session_result(const struct klp_session *s, pid_t pid, const char *patch, size_t functions, int rc,
			   const struct klp_error *e);

/* A JSON string of text that need not be UTF-8 (thread names, paths): other bytes become '?'. Never NULL but for want
 * of memory. */
json_t *klp_json_text(const char *text);

/* Unwinder tables of everything that is mapped executable now (klp/tables.c). */
int klp_tables_build(struct klp_session *s, struct klp_error *e);
/*
 * Reads the maps again. 1: something else can be executed where the text of an object was that the tables were made
 * from, and they are made anew; nothing that was seen since the call before this one is a proof. 0: no such thing. What
 * has only come or gone does no harm: no row says anything of what came, and nobody is in what went.
 */
int klp_tables_renew(struct klp_session *s, struct klp_error *e);
void klp_tables_free(struct klp_session *s);

static inline void klp_op_store(struct klp_rt_op *op, uint64_t addr, uint64_t value)
{
	*op = (struct klp_rt_op){.code = KLP_OP_STORE, .a = {addr, value}};
}

static inline void klp_op_sync(struct klp_rt_op *op)
{
	*op = (struct klp_rt_op){.code = KLP_OP_SYNC};
}

#endif
