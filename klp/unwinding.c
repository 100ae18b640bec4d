/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/unwinding.h"

#include <errno.h>
#include <stddef.h>

#include "klp/unwinder.h"
#include "klp/vacate.h"

#define KLP_RESOLVING_MS 1000u    /* for the threads that may be resolving a slot, if the module needs it ... */
#define KLP_RESOLVING_TRY_MS 100u /* and if not */

static uint64_t klp_unwind_addr(const struct klp_session *s, unsigned index, size_t offset)
{
	return s->r.cb + offsetof(struct klp_rt_cb, unwind) + index * sizeof(struct klp_rt_unwind) + offset;
}

int klp_unwinding_add(struct klp_session *s, unsigned index, const struct klp_linked *l, struct klp_error *e)
{
	uint64_t version = (s->cb->unwind[index].version | 1) + 1;
	struct klp_rt_op op[6];

	klp_op_store(&op[0], klp_unwind_addr(s, index, offsetof(struct klp_rt_unwind, version)), version);
	klp_op_store(&op[1], klp_unwind_addr(s, index, offsetof(struct klp_rt_unwind, start)), l->text_addr);
	klp_op_store(&op[2], klp_unwind_addr(s, index, offsetof(struct klp_rt_unwind, end)),
		     l->text_addr + l->text_len);
	klp_op_store(&op[3], klp_unwind_addr(s, index, offsetof(struct klp_rt_unwind, fdes)), l->fdes_addr);
	klp_op_store(&op[4], klp_unwind_addr(s, index, offsetof(struct klp_rt_unwind, count)), l->fde_count);
	klp_op_store(&op[5], klp_unwind_addr(s, index, offsetof(struct klp_rt_unwind, version)), version + 1);
	return klp_remote_run(&s->r, op, 6, e);
}

void klp_unwinding_remove_op(const struct klp_session *s, unsigned index, struct klp_rt_op *op)
{
	uint64_t version = s->cb->unwind[index].version;

	klp_op_store(op, klp_unwind_addr(s, index, offsetof(struct klp_rt_unwind, version)), version + (version & 1));
}

static int klp_hook_write(struct klp_session *s, unsigned k, const struct klp_rt_hook *h, struct klp_error *e)
{
	s->cb->hook[k] = *h;
	return klp_session_write_cb(s, offsetof(struct klp_rt_cb, hook) + k * sizeof(*h), h, sizeof(*h), e);
}

/* The place of this slot among the hooks, else a free one; KLP_MAX_HOOKS: there is none. Hooks of objects that are gone
 * are forgotten. */
static int klp_hook_place(struct klp_session *s, const struct klp_object *o, uint64_t slot, unsigned *place,
			  struct klp_error *e)
{
	static const struct klp_rt_hook none;
	int rc = 0;

	*place = KLP_MAX_HOOKS;
	for (unsigned k = KLP_MAX_HOOKS; k-- > 0 && !rc;) {
		const struct klp_object *at = klp_process_object_at(&s->p, s->cb->hook[k].slot);

		if (s->cb->hook[k].slot && (!at || at->start != s->cb->hook[k].object))
			rc = klp_hook_write(s, k, &none, e);
		if (!s->cb->hook[k].slot && *place == KLP_MAX_HOOKS)
			*place = k;
	}
	for (unsigned k = 0; k < KLP_MAX_HOOKS; k++)
		if (s->cb->hook[k].slot == slot && s->cb->hook[k].object == o->start)
			*place = k;
	return rc;
}

/* A store to a slot that has this value still, in an object that is there still. Runs what is before it in the request
 * as well. */
static int klp_slot_replace(struct klp_session *s, struct klp_rt_op *op, size_t n, uint64_t slot, uint64_t expected,
			    uint64_t value, struct klp_error *e)
{
	int rc;

	op[n] = (struct klp_rt_op){.code = KLP_OP_REPLACE, .a = {slot, expected, value}};
	rc = klp_remote_run(&s->r, op, n + 1, e);
	if (rc && (op[n].result == -EFAULT || op[n].result == -EBUSY))
		rc = klp_fail(e, EBUSY, KLP_BUSY, "the unwinder was closed, or its slot changed, in this moment");
	return rc;
}

/* The dynamic linker's work is done for it, and nobody is still at it: whoever is would store the original later. */
static int klp_unwinder_settle(struct klp_session *s, const struct klp_unwinder *u, bool required, struct klp_error *e)
{
	struct klp_range linker[KLP_SCOPE_MAX_NEEDED];
	struct klp_rt_op op[1];
	size_t n = 0, waiting = 0;
	int rc = klp_slot_replace(s, op, 0, u->slot, u->value, u->original, e);

	if (!rc)
		rc = klp_remote_sync(&s->r, e);
	for (size_t i = 0; i < s->p.object_count && n < KLP_SCOPE_MAX_NEEDED; i++)
		if (s->p.object[i].interpreter)
			linker[n++] = (struct klp_range){s->p.object[i].text_start, s->p.object[i].text_end};
	if (!rc)
		rc = klp_vacate(s, linker, n, required ? KLP_RESOLVING_MS : KLP_RESOLVING_TRY_MS, &waiting, e);
	if (!rc && waiting)
		rc =
		    klp_fail(e, EBUSY, KLP_BUSY,
			     "%zu threads are in the dynamic linker and may resolve the slot of the unwinder", waiting);
	return rc;
}

static int klp_unwinder_hook(struct klp_session *s, const struct klp_object *o, const struct klp_unwinder *u,
			     bool required, struct klp_error *e)
{
	uint64_t routine = s->r.image + s->r.hdr.find_fde;
	struct klp_rt_hook h = {u->slot, o->start};
	struct klp_rt_op op[3];
	unsigned place;
	size_t n = 0;
	int rc;

	if (u->value == routine)
		return 0;
	rc = klp_hook_place(s, o, u->slot, &place, e);
	if (rc)
		return rc;
	if (!u->slot || !u->writable)
		return klp_fail(e, EOPNOTSUPP, KLP_NO_UNWIND_INFO, "its slot is read-only");
	if (place == KLP_MAX_HOOKS)
		return klp_fail(e, ENOSPC, KLP_LIMIT, "more than %u unwinders in one process", KLP_MAX_HOOKS);
	/* Whoever has put another function there meant it: it is asked in the end. */
	if (s->cb->unwind_original && s->cb->unwind_original != (u->lazy ? u->original : u->value))
		return klp_fail(e, EOPNOTSUPP, KLP_NO_UNWIND_INFO, "the process has two unwinders");
	if (u->lazy) {
		rc = klp_unwinder_settle(s, u, required, e);
		if (rc)
			return rc;
	}
	rc = klp_hook_write(s, place, &h, e);
	if (rc)
		return rc;
	s->cb->unwind_original = u->lazy ? u->original : u->value;
	klp_op_store(&op[n++], s->r.cb + offsetof(struct klp_rt_cb, unwind_original), s->cb->unwind_original);
	klp_op_sync(&op[n++]); /* whoever finds the routine in the slot finds this too */
	return klp_slot_replace(s, op, n, u->slot, u->lazy ? u->original : u->value, routine, e);
}

/* The first unwinder that lies behind an address; NULL: none. */
static const struct klp_object *klp_unwinder_behind(const struct klp_session *s, uint64_t at)
{
	const struct klp_object *found = NULL;

	for (size_t i = 0; i < s->p.object_count; i++) {
		const struct klp_object *o = &s->p.object[i];

		if (klp_is_unwinder(o) && o->start > at && (!found || o->start < found->start))
			found = o;
	}
	return found;
}

int klp_unwinding_hook(struct klp_session *s, bool required, struct klp_error *e)
{
	const struct klp_object *o;
	uint64_t at = 0;
	int rc = 0;

	/* klp_unwinder_hook may wait, and the maps be read anew: objects and what was read of them are of one round. */
	while (!rc && (o = klp_unwinder_behind(s, at))) {
		struct klp_unwinder u;
		struct klp_scope scope;
		struct klp_dso *d;

		at = o->start;
		rc = klp_scope_open(&s->p, &scope, e);
		if (rc)
			break;
		d = klp_scope_dso(&scope, o);
		rc = d ? klp_unwinder_read(&scope, d, &u, e) : 0;
		klp_scope_close(&scope);
		if (d && !rc)
			rc = klp_unwinder_hook(s, o, &u, required, e);
		if (d && rc && !required) {
			klp_log(s, 1, "exceptions will not pass through the patch's frames: %s", e->text);
			rc = 0;
		}
	}
	return rc;
}

static bool klp_unwinding_is_hooked(const struct klp_session *s, const struct klp_object *o)
{
	for (unsigned k = 0; k < KLP_MAX_HOOKS; k++)
		if (s->cb->hook[k].slot && s->cb->hook[k].object == o->start)
			return true;
	return false;
}

void klp_unwinding_late(struct klp_session *s)
{
	struct klp_error err = KLP_ERROR_INIT;
	bool late = false;
	int rc;

	for (size_t i = 0; i < s->p.object_count; i++)
		late |= klp_is_unwinder(&s->p.object[i]) && !klp_unwinding_is_hooked(s, &s->p.object[i]);
	if (!late)
		return;
	rc = klp_session_start(s, &err);
	if (!rc)
		rc = klp_unwinding_hook(s, false, &err);
	if (rc)
		klp_log(s, 1, "exceptions will not pass through the patch's frames: %s", err.text);
}

uint64_t klp_unwinding_signature(const struct klp_process *p)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < p->object_count; i++)
		if (klp_is_unwinder(&p->object[i]))
			sum += p->object[i].start;
	return sum;
}

int klp_unwinding_unhook(struct klp_session *s, bool *any, struct klp_error *e)
{
	static const struct klp_rt_hook none;
	uint64_t routine = s->r.image + s->r.hdr.find_fde;
	int rc = 0;

	*any = false;
	for (unsigned k = 0; k < KLP_MAX_HOOKS && !rc; k++) {
		const struct klp_rt_hook *h = &s->cb->hook[k];
		const struct klp_object *o = h->slot ? klp_process_object_at(&s->p, h->slot) : NULL;
		struct klp_rt_op op;

		if (!h->slot)
			continue;
		*any = true;
		/* Only what klp has put there, in the object that it was put into. */
		if (o && o->start == h->object && klp_is_unwinder(o)) {
			rc = klp_slot_replace(s, &op, 0, h->slot, routine, s->cb->unwind_original, e);
			if (rc && e->reason == KLP_BUSY)
				rc = 0;
		}
		if (!rc)
			rc = klp_hook_write(s, k, &none, e);
	}
	return rc;
}
