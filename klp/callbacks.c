/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/callbacks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "klp/borrow.h"
#include "klp/clock.h"
#include "klp/frame.h"
#include "klp/proof.h"
#include "klp/wrapper.h"
#include "patchsite/patchsite.h"

#define KLP_CALLBACK_ROOM (64u << 10)      /* of the thread's own stack */
#define KLP_CALLBACK_START_NS 50000000ull  /* until a thread that a killed tool sent has begun */
#define KLP_CALLBACK_HOME_NS 3000000000ull /* from the callback's return to the end of the way home */
#define KLP_CALLBACK_LOOK_NS 1000000ull
#define KLP_CALLBACK_PING_NS 500000000ull
#define KLP_START_FRAMES_MAIN 2u   /* the C library's, between the entry point and main */
#define KLP_START_FRAMES_THREAD 1u /* and between clone and a thread's function */
#define KLP_ERRNO_MAX 4095
#define KLP_REFUSALS 3u /* threads that an error names */
#define KLP_WRAPPERS_ASKED 16u

/* ---- which thread ---- */

struct klp_visit {
	struct klp_session *s;
	struct klp_rt_callback rec;
	struct klp_proof *proof;
	struct klp_site_list sites; /* of a static program: what has one is the program's own */
	bool have_sites;
	struct klp_visit_wrapper {
		long nr;
		uint64_t entry;
		bool is;
	} asked[KLP_WRAPPERS_ASKED]; /* klp_is_wrapper()'s last answers: no time to ask while a thread stands */
	unsigned asked_next;
	uint64_t began, ended, pinged, deadline;
	struct klp_visit_refusal {
		pid_t tid;
		char why[100];
	} refusal[KLP_REFUSALS]; /* of the first threads that cannot be taken */
};

static const char *klp_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Libraries that hold locks or half-made state of their own while they wait: the C library, the dynamic linker, the
 * unwinder. */
static bool klp_frame_is_system(const struct klp_visit *v, const struct klp_unw_frame *f)
{
	static const char *const part[] = {"libc.", "libc-2.", "ld-", "libpthread", "libgcc_s", "libdl", "librt"};
	const struct klp_object *o = klp_process_object_at(&v->s->p, f->lookup);
	const char *name;

	if (!o) /* a replacement of klp's; anything else is no part of a reliable stack */
		return false;
	if (o->main) {
		if (!o->libc)
			return false;
		/* Linked into the program. The C library was not compiled with klp's flags. */
		for (size_t i = 0; v->have_sites && i < v->sites.count; i++)
			if (v->sites.entry[i].recorded && v->sites.entry[i].entry == f->fde_start - o->bias)
				return false;
		return true;
	}
	if (o->libc || o->interpreter || o->vdso)
		return true;
	name = klp_base(o->path);
	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++)
		if (!strncmp(name, part[i], strlen(part[i])))
			return true;
	return false;
}

static bool klp_visit_wrapper(struct klp_visit *v, const struct klp_object *libc, long nr, uint64_t entry, bool stopped)
{
	struct klp_visit_wrapper *w;

	for (size_t i = 0; i < KLP_WRAPPERS_ASKED; i++)
		if (v->asked[i].entry == entry && v->asked[i].nr == nr)
			return v->asked[i].is;
	if (stopped)
		return false;
	w = &v->asked[v->asked_next++ % KLP_WRAPPERS_ASKED];
	*w = (struct klp_visit_wrapper){.nr = nr, .entry = entry, .is = klp_is_wrapper(&v->s->p, libc, nr, entry)};
	return w->is;
}

/* How many of its innermost frames are the wrapper of the call that it waits in. */
static size_t klp_visit_wrapper_frames(struct klp_visit *v, long nr, bool stopped)
{
	const struct klp_unw_trace *t = &v->proof->trace;
	const struct klp_object *libc;
	size_t n = 0;

	while (n < t->count && n <= KLP_WRAPPER_FRAMES && klp_frame_is_system(v, &t->frame[n]))
		n++;
	if (n < 2 || n > KLP_WRAPPER_FRAMES)
		return n ? 1 : 0;
	libc = klp_process_object_at(&v->s->p, t->frame[n - 1].lookup);
	for (size_t i = 0; i < n; i++)
		if (!libc || !libc->libc || klp_process_object_at(&v->s->p, t->frame[i].lookup) != libc)
			return 1;
	return klp_visit_wrapper(v, libc, nr, t->frame[n - 1].fde_start, stopped) ? n : 1;
}

/*
 * A thread may run a callback if it waits in a system call that its own code made: at the innermost end the call's
 * wrapper, at the outermost the C library's start, and in between nothing of the C library, no signal handler. NULL, or
 * what is in the way.
 */
static const char *klp_visit_hindrance(struct klp_visit *v, pid_t tid, size_t wrapper, char *buf, size_t len)
{
	const struct klp_unw_trace *t = &v->proof->trace;
	size_t low = wrapper, high, start = tid == v->s->p.pid ? KLP_START_FRAMES_MAIN : KLP_START_FRAMES_THREAD;

	if (v->proof->verdict != KLP_OK || !t->count) {
		snprintf(buf, len, "its stack is not reliable (%s)", klp_reason_name(v->proof->verdict));
		return buf;
	}
	high = t->count - 1; /* the end, by identity */
	if (low > high)
		low = high;
	while (start-- > 0 && high > low && klp_frame_is_system(v, &t->frame[high - 1]))
		high--;
	for (size_t i = 0; i < t->count; i++)
		if (t->frame[i].signal)
			return "a signal handler is on its stack";
	for (size_t i = low; i < high; i++) {
		const struct klp_object *o = klp_process_object_at(&v->s->p, t->frame[i].lookup);

		if (!klp_frame_is_system(v, &t->frame[i]))
			continue;
		snprintf(buf, len, "it is inside %s", o && !o->main ? klp_base(o->path) : "the C library");
		return buf;
	}
	return high > low ? NULL : "no function of the program is on its stack";
}

static void klp_visit_says(void *ctx, pid_t tid, const char *why)
{
	struct klp_visit *v = ctx;

	for (size_t i = 0; i < KLP_REFUSALS; i++) {
		struct klp_visit_refusal *r = &v->refusal[i];

		if (r->tid && r->tid != tid)
			continue;
		r->tid = tid;
		snprintf(r->why, sizeof(r->why), "%s", why);
		return;
	}
}

/* One sentence of it. */
static void klp_visit_refusals(const struct klp_visit *v, char *buf, size_t len)
{
	size_t at = 0;

	snprintf(buf, len, "none waits in a system call that can be issued again without harm");
	for (size_t i = 0; i < KLP_REFUSALS && v->refusal[i].tid && at < len; i++) {
		char comm[64];
		int n;

		klp_task_comm(&v->s->p, v->refusal[i].tid, comm, sizeof(comm));
		n = snprintf(buf + at, len - at, "%sthread %d (%s): %s", i ? "; " : "", v->refusal[i].tid, comm,
			     v->refusal[i].why);
		at += n > 0 ? (size_t)n : 0;
	}
}

static bool klp_visit_look(void *ctx, pid_t tid)
{
	struct klp_visit *v = ctx;
	struct klp_error ignored = KLP_ERROR_INIT;
	char buf[96];
	const char *why;
	size_t wrapper, caller;

	klp_prove_blocked(v->s, tid, NULL, 0, v->proof);
	if (v->proof->gone || v->proof->kernel_made || v->proof->running)
		return false;
	wrapper = klp_visit_wrapper_frames(v, v->proof->call, false);
	/* Frame pointers: only a stop shows the register. But the wrapper's caller is in the trace already. */
	caller = wrapper ? wrapper : 1;
	if (v->proof->verdict == KLP_UNW_REG_UNKNOWN && v->proof->trace.count > caller &&
	    !klp_frame_is_system(v, &v->proof->trace.frame[caller]))
		return true;
	why = klp_visit_hindrance(v, tid, wrapper, buf, sizeof(buf));
	if (!why && !klp_process_mapping(&v->s->p, v->proof->trace.frame[0].sp))
		klp_process_refresh(&v->s->p, &ignored); /* a new thread's stack */
	if (!why &&
	    !klp_borrow_room(&v->s->p, v->proof->trace.frame[0].sp, klp_thread_pointer(v->s, tid), KLP_CALLBACK_ROOM))
		why = "there is too little room on its stack";
	if (why)
		klp_visit_says(v, tid, why);
	return !why;
}

static int klp_callback_store(struct klp_session *s, const struct klp_rt_callback *rec, struct klp_error *e)
{
	struct klp_rt_callback unasked = *rec;
	int rc;

	unasked.state = KLP_RT_CALLBACK_NONE;
	rc = klp_session_write_cb(s, offsetof(struct klp_rt_cb, callback), &unasked, sizeof(unasked), e);
	return rc ? rc
		  : klp_session_write_cb(s, offsetof(struct klp_rt_cb, callback.state), &rec->state, sizeof(rec->state),
					 e);
}

/* Stopped, with all its registers: now it is certain. */
static bool klp_visit_fit(void *ctx, const struct klp_stop *st, pid_t ns_tid, uint64_t timeout, uint32_t unit)
{
	struct klp_visit *v = ctx;
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_unw_regs regs = {0};
	uint64_t arg[6];
	char buf[96];
	const char *why;

	klp_registers_for_unwind(&st->regs, &regs);
	klp_prove_registers(v->s, st->tid, &regs, klp_registers_thread_pointer(&st->regs), NULL, 0, v->proof);
	why = klp_visit_hindrance(v, st->tid, klp_visit_wrapper_frames(v, klp_registers_call(&st->regs, arg), true),
				  buf, sizeof(buf));
	if (why) {
		klp_visit_says(v, st->tid, why);
		return false;
	}
	v->rec.tid = (uint32_t)ns_tid;
	v->rec.result = 0;
	v->rec.timeout = timeout;
	v->rec.timeout_unit = unit;
	v->rec.state = KLP_RT_CALLBACK_ASKED;
	v->began = v->pinged = klp_clock_now();
	return !klp_callback_store(v->s, &v->rec, &ignored);
}

static int klp_visit_works(void *ctx)
{
	struct klp_visit *v = ctx;
	struct klp_error ignored = KLP_ERROR_INIT;
	uint32_t state;

	if (klp_process_read(&v->s->p, v->s->r.cb + offsetof(struct klp_rt_cb, callback.state), &state, sizeof(state),
			     &ignored))
		return -1;
	v->ended = klp_clock_now();
	if (state == KLP_RT_CALLBACK_DONE)
		return 0;
	if (v->ended > v->deadline)
		return -1;
	if (v->ended - v->pinged > KLP_CALLBACK_PING_NS) { /* the helper is to be there to be told to leave */
		v->pinged = v->ended;
		if (klp_remote_ping(&v->s->r, &ignored))
			return -1;
	}
	return 1;
}

/* ---- what has been run ---- */

static uint32_t klp_bit(enum klp_callback kind)
{
	return 1u << kind;
}

bool klp_callback_owed(const struct klp_rt_patch *rec, enum klp_callback *kind)
{
	const uint32_t done = rec->callbacks;

	if (!(done & klp_bit(KLP_CALLBACK_PRE_PATCH)) || (done & klp_bit(KLP_CALLBACK_POST_PATCH)))
		return false;
	if (rec->state == KLP_PATCH_ENABLED) {
		*kind = KLP_CALLBACK_POST_PATCH;
		return true;
	}
	*kind = KLP_CALLBACK_POST_UNPATCH;
	return rec->state == KLP_PATCH_DISABLED && !(done & klp_bit(KLP_CALLBACK_POST_UNPATCH));
}

static int klp_callback_note(struct klp_session *s, unsigned index, enum klp_callback kind, struct klp_error *e)
{
	uint32_t done = s->cb->patches[index].callbacks | klp_bit(kind);
	int rc;

	if (kind == KLP_CALLBACK_POST_PATCH)
		done &= ~klp_bit(KLP_CALLBACK_PRE_UNPATCH);
	if (kind == KLP_CALLBACK_PRE_UNPATCH)
		done &= ~klp_bit(KLP_CALLBACK_POST_PATCH);
	rc = klp_session_write_cb(s,
				  offsetof(struct klp_rt_cb, patches) + index * sizeof(struct klp_rt_patch) +
				      offsetof(struct klp_rt_patch, callbacks),
				  &done, sizeof(done), e);
	return rc ? rc : klp_patches_read(s, e);
}

/* The callback's address out of the module in the target, 0 if the patch has none of that kind. Hostile. */
static int klp_callback_address(struct klp_session *s, const struct klp_rt_patch *rec, enum klp_callback kind,
				uint64_t *fn, struct klp_error *e)
{
	int rc;

	if (rec->function_count > KLP_MODULE_MAX_FUNCTIONS)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "patch '%.63s' in the target has impossible sizes",
				rec->name);
	rc =
	    klp_process_read(&s->p, rec->functions + rec->function_count * 16 + (uint64_t)kind * 8, fn, sizeof(*fn), e);
	if (!rc && *fn && (*fn < rec->text || *fn - rec->text >= rec->text_len))
		rc = klp_fail(e, EINVAL, KLP_TARGET_MEMORY,
			      "the %s callback of patch '%.63s' in the target is not in its code",
			      klp_callback_name(kind), rec->name);
	return rc;
}

static int klp_callback_pending(const struct klp_session *s, const struct klp_rt_callback *rec, struct klp_error *e)
{
	return klp_fail(e, EAGAIN, KLP_PENDING, "the %s callback of patch '%.63s' has not returned (thread %u)",
			klp_callback_name(rec->kind), s->cb->patches[rec->patch].name, rec->tid);
}

static void klp_callback_report(struct klp_session *s, const struct klp_rt_callback *rec, uint64_t ns)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", json_string(klp_callback_name(rec->kind)));
	json_object_set_new(o, "patch", klp_json_text(s->cb->patches[rec->patch].name));
	json_object_set_new(o, "result", json_integer(rec->result));
	json_object_set_new(o, "us", ns ? json_integer((json_int_t)((ns + 999) / 1000)) : json_null());
	json_array_append_new(s->callbacks, o);
}

/*
 * Behind a callback that returned, or one that never began. The thread is on its way home on klp's frames until its
 * signals are its own again. ns: how long it ran, 0 if nobody looked.
 */
static int klp_callback_finish(struct klp_session *s, struct klp_rt_callback *rec, uint64_t ns, struct klp_error *e)
{
	uint32_t none = KLP_RT_CALLBACK_NONE;
	bool lost = rec->state == KLP_RT_CALLBACK_RUNS; /* its thread ended in it */
	int rc = 0;

	if (rec->state != KLP_RT_CALLBACK_ASKED) {
		if (lost)
			rec->result = -ECANCELED;
		klp_callback_report(s, rec, ns);
		if (rec->kind != KLP_CALLBACK_PRE_PATCH || !rec->result)
			rc = klp_callback_note(s, rec->patch, (enum klp_callback)rec->kind, e);
	}
	if (!rc)
		rc = klp_session_write_cb(s, offsetof(struct klp_rt_cb, callback.state), &none, sizeof(none), e);
	return rc;
}

/* Waits until nobody runs the callback or is on the way home from it. rec: as it is then. */
static int klp_callback_wait(struct klp_session *s, uint64_t deadline, struct klp_rt_callback *rec, struct klp_error *e)
{
	uint64_t began = klp_clock_now(), now, home = 0;

	for (;;) {
		int visits,
		    rc = klp_process_read(&s->p, s->r.cb + offsetof(struct klp_rt_cb, callback), rec, sizeof(*rec), e);

		if (rc)
			return rc;
		if (rec->state == KLP_RT_CALLBACK_NONE)
			return 0;
		if (rec->patch >= KLP_MAX_PATCHES || rec->kind >= KLP_CALLBACK_KINDS ||
		    rec->state > KLP_RT_CALLBACK_DONE)
			return klp_fail(e, EINVAL, KLP_TARGET_MEMORY,
					"the callback in the control block of process %d makes no sense", s->p.pid);
		visits = klp_remote_visits(&s->r, rec->tid, s->cb->callback_borrow.old_mask);
		now = klp_clock_now();
		if (visits < 0)
			return 0;
		if (rec->state == KLP_RT_CALLBACK_ASKED && !visits && now - began > KLP_CALLBACK_START_NS)
			return 0; /* the tool was killed before it sent it */
		if (rec->state == KLP_RT_CALLBACK_DONE) {
			if (!visits)
				return 0;
			if (!home)
				home = now;
			if (now - home > KLP_CALLBACK_HOME_NS)
				return klp_fail(e, ETIMEDOUT, KLP_HELPER,
						"a thread of process %d does not leave klp's code", s->p.pid);
		} else if (now > deadline) {
			return klp_callback_pending(s, rec, e);
		}
		klp_clock_sleep(KLP_CALLBACK_LOOK_NS);
	}
}

int klp_callbacks_settle(struct klp_session *s, struct klp_error *e)
{
	uint64_t deadline = klp_clock_now() + (uint64_t)s->opt.timeout_ms * 1000000ull;
	struct klp_rt_callback rec;
	int rc;

	/* In a fork's child nobody runs what its parent ran (klp_remote_start). */
	if (!s->cb || s->r.adopted || s->cb->callback.state == KLP_RT_CALLBACK_NONE)
		return 0;
	rc = klp_callback_wait(s, deadline, &rec, e);
	if (rc || rec.state == KLP_RT_CALLBACK_NONE)
		return rc ? rc : klp_session_read_cb(s, e);
	rc = klp_callback_finish(s, &rec, 0, e);
	return rc ? rc : klp_session_read_cb(s, e);
}

/* ---- running one ---- */

static int klp_callback_result(const struct klp_session *s, const struct klp_rt_callback *rec, struct klp_error *e)
{
	int err = rec->result < 0 ? -rec->result : rec->result;

	if (rec->kind != KLP_CALLBACK_PRE_PATCH) {
		if (rec->state != KLP_RT_CALLBACK_DONE)
			klp_log(s, 1, "the %s callback of patch '%.63s' ended its thread", klp_callback_name(rec->kind),
				s->cb->patches[rec->patch].name);
		return 0;
	}
	if (rec->state != KLP_RT_CALLBACK_DONE)
		return klp_fail(e, ECANCELED, KLP_CALLBACK, "the %s callback of patch '%.63s' ended its thread",
				klp_callback_name(rec->kind), s->cb->patches[rec->patch].name);
	if (!rec->result)
		return 0;
	if (err <= 0 || err > KLP_ERRNO_MAX)
		err = EINVAL;
	return klp_fail(e, err, KLP_CALLBACK, "the pre_patch callback of patch '%.63s' returned %d (%s)",
			s->cb->patches[rec->patch].name, rec->result, strerror(err));
}

static int klp_callback_run(struct klp_session *s, unsigned index, enum klp_callback kind, uint64_t fn,
			    struct klp_error *e)
{
	struct klp_visit v = {.s = s, .rec = {.fn = fn, .kind = (uint32_t)kind, .patch = index}};
	const struct klp_borrow_visit visit = {klp_visit_look,   klp_visit_fit, klp_visit_says, klp_visit_works, &v,
					       KLP_CALLBACK_ROOM};
	struct klp_error none = KLP_ERROR_INIT;
	struct klp_borrowed who;
	char exe[64], why[320];
	int rc;

	v.deadline = klp_clock_now() + (uint64_t)s->opt.timeout_ms * 1000000ull;
	v.proof = calloc(1, sizeof(*v.proof));
	if (!v.proof)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for a stack trace");
	memset(v.proof, 0xff, sizeof(*v.proof)); /* in memory before anybody is stopped */
	rc = klp_process_refresh(&s->p, e);
	if (!rc)
		rc = klp_tables_build(s, e);
	for (size_t i = 0; i < s->p.object_count && !rc; i++)
		if (s->p.object[i].main && s->p.object[i].libc) {
			snprintf(exe, sizeof(exe), "/proc/%d/exe", s->p.pid);
			v.have_sites = !klp_site_list_file(exe, &v.sites, &none);
		}
	if (!rc)
		rc = klp_borrow_visit(&s->r, &visit, s->opt.timeout_ms, &who, e);
	if (rc == -EAGAIN && e->reason == KLP_NO_BORROW) {
		uint32_t unasked = KLP_RT_CALLBACK_NONE;

		klp_session_write_cb(s, offsetof(struct klp_rt_cb, callback.state), &unasked, sizeof(unasked), &none);
		klp_visit_refusals(&v, why, sizeof(why));
		rc = klp_fail(e, EDEADLK, KLP_NO_CALLBACK_THREAD,
			      "no thread of process %d can run the %s callback of patch '%.63s': %s", s->p.pid,
			      klp_callback_name(kind), s->cb->patches[index].name, why);
	}
	if (!rc) {
		rc = klp_callback_wait(s, v.deadline, &v.rec, e);
		if (!rc) {
			struct klp_rt_callback rec = v.rec;

			rc = klp_callback_finish(s, &rec, v.ended > v.began ? v.ended - v.began : 1, e);
		}
		if (!rc)
			rc = klp_callback_result(s, &v.rec, e);
	}
	if (v.have_sites)
		klp_site_list_free(&v.sites);
	free(v.proof);
	return rc;
}

int klp_callback_stage(struct klp_session *s, unsigned index, enum klp_callback kind, struct klp_error *e)
{
	const struct klp_rt_patch *rec = &s->cb->patches[index];
	uint64_t fn;
	int rc;

	/* A patch that has none at all passes no stage. */
	if (kind != KLP_CALLBACK_PRE_PATCH && !(rec->callbacks & klp_bit(KLP_CALLBACK_PRE_PATCH)))
		return 0;
	rc = klp_callback_address(s, rec, kind, &fn, e);
	if (rc)
		return rc;
	if (!fn)
		return klp_callback_note(s, index, kind, e);
	klp_log(s, 0, "'%s': %s callback", rec->name, klp_callback_name(kind));
	return klp_callback_run(s, index, kind, fn, e);
}

int klp_callbacks_pass(struct klp_session *s, uint32_t order, enum klp_callback kind, struct klp_error *e)
{
	int rc = 0;

	for (unsigned i = 0; i < KLP_MAX_PATCHES && !rc; i++)
		if (s->cb->patches[i].state != KLP_PATCH_FREE && s->cb->patches[i].order == order)
			rc = klp_callback_stage(s, i, kind, e);
	return rc;
}

int klp_callbacks_run_owed(struct klp_session *s, struct klp_error *e)
{
	if (!s->cb || KLP_TR_ACTIVE(s->cb->transition))
		return 0;
	for (unsigned i = 0; i < KLP_MAX_PATCHES; i++) {
		enum klp_callback kind;
		int rc;

		if (!klp_callback_owed(&s->cb->patches[i], &kind))
			continue;
		rc = klp_callback_stage(s, i, kind, e);
		if (rc == -EDEADLK && e->reason == KLP_NO_CALLBACK_THREAD) {
			const struct klp_error why = *e;

			rc = klp_fail(e, EAGAIN, KLP_PENDING, "%s; it is run by the next load or unload", why.text);
		}
		if (rc)
			return rc;
	}
	return 0;
}
