/* SPDX-License-Identifier: Apache-2.0 */
/* Invariant L3: a module with handlers or cleanups of its own is refused where the process's unwinder cannot be told of
 * it. */
#include "klp/module.h"

#include <errno.h>
#include <string.h>

#include "klp/module_elf.h"
#include "klp/unwinder.h"

/* A CIE with a personality routine (augmentation 'P') or a table of landing pads ('L'); or one that cannot be read. */
static bool klp_eh_frame_has_handlers(const uint8_t *p, uint64_t len)
{
	uint64_t at = 0;

	while (len - at >= 4) {
		uint32_t n, id;

		memcpy(&n, p + at, sizeof(n));
		at += 4;
		if (n == 0)
			continue;
		if (n == UINT32_MAX || n < 4 || n > len - at)
			return true;
		memcpy(&id, p + at, sizeof(id));
		if (id == 0) { /* a CIE: version, augmentation */
			const uint8_t *text = p + at + 5, *end = p + at + n;

			if (n < 6)
				return true;
			for (; text < end && *text; text++)
				if (*text == 'P' || *text == 'L')
					return true;
			if (text == end)
				return true;
		}
		at += n;
	}
	return at != len;
}

int klp_module_needs_unwind(const struct klp_module *m, bool *needs, struct klp_error *e)
{
	struct klp_elf f;
	int rc;

	*needs = m->exceptions;
	if (*needs || !m->image)
		return 0;
	rc = klp_elf_open(m->image, m->size, &f, e);
	if (rc)
		return rc;
	for (size_t i = 1; i < f.section_count && !*needs; i++) {
		const struct klp_elf_section *s = &f.section[i];

		if (!(s->flags & SHF_ALLOC) || !s->data)
			continue;
		*needs = !strncmp(s->plain, ".gcc_except_table", 17) ||
			 (!strcmp(s->plain, ".eh_frame") && klp_eh_frame_has_handlers(s->data, s->size));
	}
	klp_elf_close(&f);
	return 0;
}

int klp_module_check_unwind(const struct klp_module *m, const struct klp_process *p, struct klp_error *e)
{
	struct klp_error why = KLP_ERROR_INIT;
	size_t count;
	bool needs;
	int rc = klp_module_needs_unwind(m, &needs, e);

	if (rc)
		return rc;
	if (needs)
		rc = klp_unwinder_check(p, &why);
	if (!rc && needs)
		rc = klp_unwinder_check_own(p, NULL, &why);
	/* Plain C code lets exceptions pass: those of the objects that it belongs to must be able to. */
	for (size_t i = 0; i < m->object_count && !rc && !needs; i++) {
		const struct klp_object *o =
		    klp_process_object(p, m->object[i].build_id, m->object[i].build_id_len, &count);

		if (o && o->dynamic)
			rc = klp_unwinder_check_own(p, o, &why);
	}
	if (!rc)
		return 0;
	if (why.reason != KLP_NO_UNWIND_INFO) { /* it could not be found out */
		*e = why;
		return rc;
	}
	if (!needs)
		return klp_fail(e, EOPNOTSUPP, KLP_NO_UNWIND_INFO, "exceptions could not pass through module '%s': %s",
				m->name, why.text);
	return klp_fail(e, EOPNOTSUPP, KLP_NO_UNWIND_INFO,
			"module '%s' contains C++ or -fexceptions code, and the process's unwinder would not know its "
			"frames: %s",
			m->name, why.text);
}
