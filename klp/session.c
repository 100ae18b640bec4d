/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "klp/adopt.h"
#include "klp/callbacks.h"
#include "klp/clock.h"

#define KLP_LOCK_WAIT_MS 2000u   /* two klpctl at once: the second one waits this long before it says EBUSY */
#define KLP_BORROW_WAIT_MS 5000u /* search for a thread that can be borrowed without harm */

void klp_log(const struct klp_session *s, int level, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (!s->opt.log)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->opt.log(s->opt.log_ctx, level, text);
}

int klp_session_read_cb(struct klp_session *s, struct klp_error *e)
{
	if (!s->r.image) {
		free(s->cb);
		s->cb = NULL;
		return 0;
	}
	if (!s->cb) {
		s->cb = calloc(1, KLP_CB_HEAD);
		if (!s->cb)
			return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the control block's copy");
	}
	return klp_process_read(&s->p, s->r.cb, s->cb, KLP_CB_HEAD, e);
}

int klp_session_write_cb(struct klp_session *s, size_t offset, const void *buf, size_t len, struct klp_error *e)
{
	int rc = klp_process_write(&s->p, s->r.cb + offset, buf, len, e);

	if (!rc && offset + len <= KLP_CB_HEAD)
		memcpy((char *)s->cb + offset, buf, len);
	return rc;
}

int klp_session_start(struct klp_session *s, struct klp_error *e)
{
	/* First, for it needs nobody's help, and its thread cannot be borrowed meanwhile. */
	int rc = klp_callbacks_settle(s, e);

	if (!rc)
		rc = klp_remote_start(&s->r, KLP_BORROW_WAIT_MS, e);
	if (rc)
		return rc;
	s->remote_started = true;
	rc = klp_session_read_cb(s, e);
	if (!rc && s->r.adopted)
		rc = klp_adopt(s, e);
	return rc ? rc : klp_patches_read(s, e);
}

/*
 * What a killed tool has posted may begin a transition or end one: the helper does it now, before anything is decided
 * by what the control block says. Nobody can post any more: this tool has the lock.
 */
static int klp_session_settle(struct klp_session *s, struct klp_error *e)
{
	int rc = klp_session_start(s, e);

	if (!rc)
		rc = klp_remote_ping(&s->r, e);
	if (!rc)
		rc = klp_session_read_cb(s, e);
	return rc ? rc : klp_patches_read(s, e);
}

int klp_session_open(struct klp_session *s, pid_t pid, int how, const struct klp_options *o, struct klp_error *e)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	int rc, owed = 0;

	memset(s, 0, sizeof(*s));
	s->p.lock_fd = -1;
	s->p.mem_fd = -1;
	if (o)
		s->opt = *o;
	if (!s->opt.timeout_ms)
		s->opt.timeout_ms = 10000;
	s->began_ns = klp_clock_now();
	s->pending = json_array();
	s->callbacks = json_array();
	if (!s->pending || !s->callbacks)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory");
	rc = klp_process_open(pid, &s->p, e);
	if (rc)
		goto fail;
	if (how == KLP_SESSION_CHANGE) {
		rc = klp_process_lock(&s->p, KLP_LOCK_WAIT_MS, e);
		/* Again, now that nobody else changes them: the lock's last holder may have mapped something. */
		if (!rc)
			rc = klp_process_reread(&s->p, e);
		if (!rc)
			rc = klp_process_check(&s->p, e);
		if (rc)
			goto fail_open;
	}
	rc = klp_remote_find(&s->p, &s->r, e);
	/* Before anything is read, for it may be executed between the two. */
	if (!rc && how == KLP_SESSION_CHANGE)
		rc = owed = klp_remote_owed(&s->r, e);
	if (rc >= 0)
		rc = klp_session_read_cb(s, e);
	if (!rc)
		rc = klp_patches_read(s, e);
	if (!rc && owed)
		rc = klp_session_settle(s, e);
	if (!rc)
		return 0;
	if (s->remote_started)
		klp_remote_stop(&s->r, &ignored);
fail_open:
	klp_patches_free(s);
	free(s->cb);
	klp_process_close(&s->p);
fail:
	json_decref(s->pending);
	json_decref(s->callbacks);
	memset(s, 0, sizeof(*s));
	return rc;
}

void klp_session_close(struct klp_session *s)
{
	struct klp_error ignored = KLP_ERROR_INIT;

	if (!s->pending)
		return; /* never opened */
	if (s->remote_started && s->r.image)
		klp_remote_stop(&s->r, &ignored);
	klp_tables_free(s);
	klp_patches_free(s);
	free(s->cb);
	klp_process_close(&s->p);
	free(s->sampling.sample);
	json_decref(s->pending);
	json_decref(s->callbacks);
	memset(s, 0, sizeof(*s));
}

json_t *klp_json_text(const char *text)
{
	json_t *o = json_string(text);
	char *copy;

	if (o || !(copy = strdup(text)))
		return o;
	for (char *c = copy; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	o = json_string(copy);
	free(copy);
	return o;
}

static const char *klp_result_word(int rc, const struct klp_error *e)
{
	if (rc == 0)
		return "done";
	if (rc > 0)
		return "skipped";
	switch (e->reason) {
	case KLP_PENDING:
		return "pending";
	case KLP_NO_OBJECT:
		return "not_applicable";
	case KLP_PERMISSION:
		return "permission";
	case KLP_INTERNAL:
	case KLP_NOMEM:
	case KLP_IO:
	case KLP_NO_PROCESS:
	case KLP_HELPER:
		return "failed";
	default:
		return "refused";
	}
}

json_t *klp_session_result(const struct klp_session *s, pid_t pid, const char *patch, size_t functions, int rc,
			   const struct klp_error *e)
{
	json_t *o = json_object();
	uint64_t began = s->began_ns ? s->began_ns : klp_clock_now();

	json_object_set_new(o, "pid", json_integer(pid));
	json_object_set_new(o, "result", json_string(klp_result_word(rc, e)));
	json_object_set_new(o, "reason", rc < 0 ? json_string(klp_reason_name(e->reason)) : json_null());
	if (rc < 0)
		json_object_set_new(o, "message", klp_json_text(e->text));
	json_object_set_new(o, "patch", patch ? klp_json_text(patch) : json_null());
	json_object_set_new(o, "functions", json_integer((json_int_t)functions));
	json_object_set_new(o, "threads", json_integer((json_int_t)s->threads));
	json_object_set_new(o, "threads_stopped", json_integer((json_int_t)s->r.threads_stopped));
	json_object_set_new(o, "elapsed_us", json_integer((json_int_t)((klp_clock_now() - began) / 1000)));
	json_object_set_new(o, "longest_stop_us", json_integer((json_int_t)((s->r.longest_stop_ns + 999) / 1000)));
	json_object_set_new(o, "early_returns", json_integer((json_int_t)s->r.early_returns));
	if (s->callbacks)
		json_object_set(o, "callbacks", s->callbacks);
	else
		json_object_set_new(o, "callbacks", json_array());
	json_object_set(o, "pending", s->pending ? s->pending : NULL);
	if (!s->pending)
		json_object_set_new(o, "pending", json_array());
	return o;
}
