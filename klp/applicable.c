/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/applicable.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "klp/arming.h"
#include "klp/digest.h"
#include "klp/link.h"
#include "klp/machine.h"
#include "klp/resolve.h"
#include "klp/states.h"

#define KLP_FUNCTION_MAX (16u << 20) /* bytes of one original function that are read for its digest */
#define KLP_APPLICABLE_TRIES 10u

/* What is mapped under the name that the module calls the object by, NULL: nothing. */
static const struct klp_object *klp_applicable_namesake(const struct klp_process *p, const char *name)
{
	for (size_t i = 0; i < p->object_count; i++) {
		const char *path = p->object[i].path, *base = path ? strrchr(path, '/') : NULL;

		if (path && !strcmp(base ? base + 1 : path, name))
			return &p->object[i];
	}
	return NULL;
}

static int klp_applicable_one(const struct klp_process *p, const struct klp_module_object *mo,
			      const struct klp_object **o, struct klp_error *e)
{
	const struct klp_object *other;
	size_t count = 0;

	*o = klp_process_object(p, mo->build_id, mo->build_id_len, &count);
	if (count > 1)
		return klp_fail(e, ENOTUNIQ, KLP_AMBIGUOUS,
				"process %d maps %s %zu times (dlmopen): one cannot be patched alone", p->pid, mo->name,
				count);
	if (*o)
		return 0;
	other = klp_applicable_namesake(p, mo->name);
	if (other)
		return klp_fail(e, ENOENT, KLP_NO_OBJECT,
				"process %d maps no object with the build-id of %s: %s has another one", p->pid,
				mo->name, other->path);
	return klp_fail(e, ENOENT, KLP_NO_OBJECT, "process %d maps no object with the build-id of %s", p->pid,
			mo->name);
}

int klp_applicable_objects(struct klp_session *s, const struct klp_module *m,
			   const struct klp_object *o[KLP_MODULE_MAX_OBJECTS], struct klp_error *e)
{
	int rc = klp_machine_check(e);

	if (rc)
		return rc;
	if (m->object_count == 0)
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "the module patches no object");
	if (m->machine && m->machine != s->p.machine)
		return klp_fail(e, EINVAL, KLP_WRONG_ARCH, "the module is for machine %u, the process runs machine %u",
				m->machine, s->p.machine);
	for (size_t i = 0; i < m->object_count && !rc; i++)
		rc = klp_applicable_one(&s->p, &m->object[i], &o[i], e);
	return rc;
}

int klp_applicable_name(const struct klp_module *m, struct klp_error *e)
{
	size_t len = strlen(m->name);

	if (len == 0 || len >= sizeof(((struct klp_rt_patch *)0)->name))
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "the patch name has %zu characters, 1 to %zu are possible",
				len, sizeof(((struct klp_rt_patch *)0)->name) - 1);
	for (size_t i = 0; i < len; i++)
		if (!isgraph((unsigned char)m->name[i]))
			return klp_fail(e, EINVAL, KLP_BAD_MODULE, "the patch name has a blank or control character");
	return 0;
}

/* The original's bytes as they are in the file: what klp itself has stored there is taken back in the copy. */
static void klp_bytes_dormant(const struct klp_session *s, const struct klp_site_set *sites, uint64_t start,
			      uint8_t *bytes, size_t len)
{
	struct klp_site_store st[KLP_SITE_MAX_STORES];

	for (size_t i = 0; i < sites->count; i++) {
		size_t n = klp_site_disarm_stores(s->p.machine, &sites->site[i].site, st);

		for (size_t k = 0; k < n; k++)
			if (st[k].addr >= start && st[k].addr - start < len &&
			    st[k].width <= len - (size_t)(st[k].addr - start) &&
			    !memcmp(bytes + (st[k].addr - start), st[k].expect, st[k].width))
				memcpy(bytes + (st[k].addr - start), st[k].value, st[k].width);
	}
}

static int klp_function_check(struct klp_session *s, const struct klp_object *o, const struct klp_module_function *fn,
			      const struct klp_site_set *sites, struct klp_error *e)
{
	uint64_t entry = o->bias + fn->address, recorded = fn->recorded ? o->bias + fn->recorded : 0, from;
	uint8_t code[256], digest[32], *bytes;
	struct klp_site site;
	int rc;

	if (entry < o->text_start || entry >= o->text_end || fn->size == 0 || fn->size > KLP_FUNCTION_MAX ||
	    fn->size > o->text_end - entry)
		return klp_fail(e, EINVAL, KLP_BAD_FUNCTION, "%s does not lie in the code of %s", fn->name, o->path);
	for (size_t i = 0; i < fn->range_count; i++)
		if (fn->range[i].start >= fn->range[i].end || o->bias + fn->range[i].start < o->text_start ||
		    o->bias + fn->range[i].end > o->text_end)
			return klp_fail(e, EINVAL, KLP_BAD_FUNCTION, "a part of %s does not lie in the code of %s",
					fn->name, o->path);
	if (fn->range_count == 0)
		return klp_fail(e, EINVAL, KLP_BAD_FUNCTION, "%s has no code range", fn->name);
	if (recorded && (recorded < o->text_start || recorded > entry || entry - recorded > sizeof(code) - 32))
		return klp_fail(e, EINVAL, KLP_BAD_FUNCTION, "the recorded patch site of %s is not before it",
				fn->name);
	bytes = malloc((size_t)fn->size);
	if (!bytes)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the code of %s", fn->name);
	rc = klp_process_read(&s->p, entry, bytes, (size_t)fn->size, e);
	if (!rc && fn->has_digest) {
		/* A uprobe on the symbol is no change of the function: the site is behind it (S4). */
		klp_site_hide_probe(s->p.machine, bytes, (size_t)fn->size, 0);
		klp_bytes_dormant(s, sites, entry, bytes, (size_t)fn->size);
		rc = klp_digest(bytes, (size_t)fn->size, digest, e);
		if (!rc && memcmp(digest, fn->digest, sizeof(digest)))
			rc = klp_fail(e, EBUSY, KLP_BAD_FUNCTION,
				      "the code of %s in the process is not that of the file: a debugger, a tracer or "
				      "another patcher changed it",
				      fn->name);
	}
	free(bytes);
	if (rc)
		return rc;
	for (size_t i = 0; i < sites->count; i++)
		if (sites->site[i].rt.entry == entry)
			return 0; /* klp's own record: decoded when it was made */
	from = recorded ? recorded : entry;
	rc = klp_process_read(&s->p, from, code, (size_t)(entry - from) + 16, e);
	if (rc)
		return rc;
	klp_site_hide_probe(s->p.machine, code, (size_t)(entry - from) + 16, (size_t)(entry - from));
	rc = klp_site_decode(s->p.machine, entry, recorded, code, from, (size_t)(entry - from) + 16, &site, e);
	if (rc) {
		const struct klp_error why = *e;

		klp_fail(e, why.err, why.reason, "%s: %s", fn->name, why.text);
	}
	return rc;
}

static int klp_functions_check(struct klp_session *s, const struct klp_object *o, const struct klp_module_object *mo,
			       const struct klp_site_set *sites, struct klp_error *e)
{
	int rc = 0;

	for (size_t i = 0; i < mo->function_count && !rc; i++) {
		rc = klp_function_check(s, o, &mo->function[i], sites, e);
		if (!rc && mo->function[i].exported)
			rc = klp_resolve_check_preempted(&s->p, o, &mo->function[i], e);
	}
	return rc;
}

static int klp_applicable_try(struct klp_session *s, const struct klp_module *m, const struct klp_object *const *o,
			      struct klp_error *e)
{
	struct klp_site_set sites;
	uint64_t size;
	int rc = klp_states_check(s, m, e);

	if (!rc)
		rc = klp_sites_read(s, &sites, e);
	if (rc)
		return rc;
	for (unsigned i = 0; i < m->object_count && !rc; i++)
		rc = klp_functions_check(s, o[i], &m->object[i], &sites, e);
	klp_site_set_free(&sites);
	if (!rc)
		rc = klp_module_check_unwind(m, &s->p, e);
	for (unsigned i = 0; i < m->object_count && m->image && !rc; i++)
		rc = klp_link_measure(m, i, 4096, &size, e);
	return rc;
}

int klp_applicable_check(struct klp_session *s, const struct klp_module *m,
			 const struct klp_object *o[KLP_MODULE_MAX_OBJECTS], struct klp_error *e)
{
	int rc = klp_applicable_try(s, m, o, e);

	/* What is read may have been unmapped since the objects were listed. */
	for (unsigned n = 0; n < KLP_APPLICABLE_TRIES && rc == -EFAULT; n++) {
		rc = klp_process_refresh(&s->p, e);
		if (!rc)
			rc = klp_applicable_objects(s, m, o, e);
		if (!rc)
			rc = klp_applicable_try(s, m, o, e);
	}
	return rc;
}
