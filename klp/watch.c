/* SPDX-License-Identifier: Apache-2.0 */
/* Objects that come and go: klp_watch_look. */
#include <errno.h>
#include <stdlib.h>

#include "klp/gone.h"
#include "klp/module.h"
#include "klp/session.h"
#include "klp/unwinding.h"

#define KLP_WATCH_VAIN 20u /* loads that are repeated for an object that may have moved: none moves for so long */
#define KLP_PLACE_FACTOR 0x9e3779b97f4a7c15u /* odd: no place of one object is lost among those of the others */

/* One process in which the objects are, or were at the last look. */
struct klp_watched {
	pid_t pid;
	uint64_t start_time, place; /* of the process; klp_watch_place */
	bool settled;               /* the patch is there, or was refused: nothing to do before an object goes */
	unsigned vain;              /* loads that failed there for what may have been a moving object */
	bool leaving;               /* an object went, and what was loaded for it is not unloaded yet */
	bool seen;
	uint64_t unwinders;      /* klp_unwinding_signature: it changes behind a load, too */
	bool told;               /* there has been an event about this place; */
	enum klp_reason outcome; /* why it was refused then, KLP_OK if it was not */
};

struct klp_watch {
	const struct klp_module *m;
	struct klp_options opt;
	struct klp_watched *list;
	size_t count;
};

int klp_watch_new(const struct klp_module *m, const struct klp_options *o, struct klp_watch **w, struct klp_error *e)
{
	*w = calloc(1, sizeof(**w));
	if (!*w)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory to watch");
	(*w)->m = m;
	(*w)->opt = *o;
	return 0;
}

void klp_watch_free(struct klp_watch *w)
{
	if (w)
		free(w->list);
	free(w);
}

static void klp_watch_event(const struct klp_watch *w, pid_t pid, const char *event, json_t *result, json_t *events)
{
	json_t *o = json_object();

	json_object_set_new(o, "pid", json_integer(pid));
	json_object_set_new(o, "patch", json_string(w->m->name));
	json_object_set_new(o, "event", json_string(event));
	json_object_set_new(o, "result", result ? result : json_null());
	json_array_append_new(events, o);
}

static struct klp_watched *klp_watched_get(struct klp_watch *w, pid_t pid, uint64_t start_time, struct klp_error *e)
{
	struct klp_watched *grown;

	for (size_t i = 0; i < w->count; i++)
		if (w->list[i].pid == pid && w->list[i].start_time == start_time)
			return &w->list[i];
	grown = realloc(w->list, (w->count + 1) * sizeof(*grown));
	if (!grown) {
		klp_fail(e, ENOMEM, KLP_NOMEM, "no memory to watch one more process");
		return NULL;
	}
	w->list = grown;
	w->list[w->count] = (struct klp_watched){.pid = pid, .start_time = start_time};
	return &w->list[w->count++];
}

/* Where the patched objects begin in the process, as one number that changes when one of them comes back elsewhere; 0:
 * one is not there. */
static uint64_t klp_watch_place(const struct klp_watch *w, const struct klp_process *p)
{
	uint64_t place = 0;

	for (size_t i = 0; i < w->m->object_count; i++) {
		const struct klp_module_object *mo = &w->m->object[i];
		size_t n;
		const struct klp_object *o = klp_process_object(p, mo->build_id, mo->build_id_len, &n);

		if (!o)
			return 0;
		place = place * KLP_PLACE_FACTOR + o->start;
	}
	return place ? place : 1;
}

/* Opened again at the same place between two looks: only what is at the patch's sites tells that it was closed. */
static bool klp_watch_is_gone(const struct klp_watch *w, pid_t pid)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_session s;
	bool gone = false;

	if (!klp_session_open(&s, pid, KLP_SESSION_READ, &w->opt, &e)) {
		const struct klp_patch *p = klp_patch_find(&s, w->m->name);

		gone = p && klp_patch_check_gone(&s, p, &e) == -EEXIST;
	}
	klp_session_close(&s);
	return gone;
}

/* An object went, or is another mapping of the same file now: what was loaded for the old one is unloaded. */
static void klp_watch_went(struct klp_watch *w, struct klp_watched *k, json_t *events)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *result = NULL;
	bool again = k->leaving;
	int rc = klp_unload(k->pid, w->m->name, &w->opt, &result, &e);

	k->place = 0;
	k->settled = false;
	k->leaving = rc < 0;
	if (again && k->leaving) /* an unload that fails is tried again at every look, and said once */
		json_decref(result);
	else
		klp_watch_event(w, k->pid, "went", result, events);
}

/* May the next look's load succeed, though nothing that a look sees has changed? */
static bool klp_watch_may_pass(struct klp_watched *k, enum klp_reason reason)
{
	switch (reason) {
	case KLP_BUSY: /* what only time stands against */
	case KLP_TRACED:
	case KLP_STOPPED:
	case KLP_HELPER:
	case KLP_NO_CALLBACK_THREAD: /* it is out of the dynamic linker when the constructors have run */
		return true;
	case KLP_UNSUPPORTED: /* the object was being opened: the dynamic linker did not list it yet */
	case KLP_NO_OBJECT:   /* it was closed under the load, another came, and it may be at this place again */
	case KLP_TARGET_MEMORY:
	case KLP_BAD_FUNCTION:
	case KLP_NO_SITE:
	case KLP_SITE_UNKNOWN:
	case KLP_SITE_TAKEN:
		return k->vain++ < KLP_WATCH_VAIN;
	default:
		return false;
	}
}

static void klp_watch_came(struct klp_watch *w, struct klp_watched *k, uint64_t place, json_t *events)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *result = NULL;
	int rc = klp_load(k->pid, w->m, &w->opt, &result, &e);
	enum klp_reason outcome = rc >= 0 ? KLP_OK : e.reason;

	if (k->place != place) {
		k->told = false;
		k->vain = 0;
	}
	/* What is tried again at the next look is said once. So is an outcome that is the same when the load is
	 * repeated for an unwinder's sake. */
	k->settled = rc >= 0 || (rc != -EAGAIN && !klp_watch_may_pass(k, e.reason));
	k->place = place;
	if (k->told && (!k->settled || (rc && outcome == k->outcome))) {
		json_decref(result);
		return;
	}
	klp_watch_event(w, k->pid, rc == 1 ? "there" : "came", result, events);
	k->told = true;
	k->outcome = outcome;
}

static int klp_watch_process(struct klp_watch *w, pid_t pid, json_t *events, struct klp_error *e)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_watched *k;
	struct klp_process p;
	uint64_t place, start_time, unwinders;

	if (klp_process_open(pid, &p, &ignored))
		return 0;
	place = klp_watch_place(w, &p);
	start_time = p.start_time;
	unwinders = klp_unwinding_signature(&p);
	klp_process_close(&p);
	k = klp_watched_get(w, pid, start_time, e);
	if (!k)
		return -e->err;
	k->seen = true;
	if (k->leaving || (k->place && (k->place != place || klp_watch_is_gone(w, pid))))
		klp_watch_went(w, k, events);
	if (k->unwinders != unwinders)
		k->settled = false;
	k->unwinders = unwinders;
	if (place && !k->settled && !k->leaving)
		klp_watch_came(w, k, place, events);
	return 0;
}

int klp_watch_look(struct klp_watch *w, const pid_t *pid, size_t count, json_t *events, struct klp_error *e)
{
	pid_t *found = NULL;
	size_t n = 0;
	int rc = 0;

	for (size_t i = 0; i < w->count; i++)
		w->list[i].seen = false;
	if (!count) {
		rc = klp_find_targets(w->m, &found, &count, e);
		pid = found;
	}
	for (size_t i = 0; i < count && !rc; i++)
		rc = klp_watch_process(w, pid[i], events, e);
	/* Those in which the object was: has it gone, or the process? */
	for (size_t i = 0, known = w->count; i < known && !rc; i++)
		if (!w->list[i].seen)
			rc = klp_watch_process(w, w->list[i].pid, events, e);
	free(found);
	for (size_t i = 0; i < w->count && !rc; i++) {
		if (w->list[i].seen)
			w->list[n++] = w->list[i];
		else if (w->list[i].place)
			klp_watch_event(w, w->list[i].pid, "ended", NULL, events);
	}
	if (!rc)
		w->count = n;
	return rc ? rc : (int)(n > INT32_MAX ? INT32_MAX : n);
}
