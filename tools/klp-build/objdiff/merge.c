/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One module of several: a program and its libraries, each of which was compared, checked and resolved on its own.
 * Nothing of one part refers to another part: a part knows the other objects as the dynamic linker does.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "klp/module.h"
#include "tools/klp-build/objdiff/module.h"

static bool is_in(const json_t *list, const json_t *value)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v) if (json_equal(v, value)) return true;
	return false;
}

/* What is said more than once is said once. */
static void append_new(json_t *list, const json_t *more)
{
	size_t i;
	json_t *v;

	json_array_foreach(more, i, v) if (!is_in(list, v)) json_array_append(list, v);
}

static void merge_symbols(json_t *list, const json_t *more, size_t object)
{
	size_t i;
	json_t *v;

	json_array_foreach(more, i, v)
	{
		json_t *y = json_copy(v);

		json_object_set_new(y, "object", json_integer((json_int_t)object));
		json_array_append_new(list, y);
	}
}

/* Each part has a record of its own for a state, and a state has one. */
static void merge_states(json_t *list, const json_t *more, json_t *refused)
{
	size_t i, k;
	json_t *v, *other;

	json_array_foreach(more, i, v)
	{
		json_array_foreach(list, k, other)
		{
			if (!json_equal(json_object_get(v, "id"), json_object_get(other, "id")))
				continue;
			json_array_append_new(refused,
					      json_pack("{s:O,s:s,s:s,s:s,s:s}", "symbol", json_object_get(v, "symbol"),
							"section", "", "file", "", "reason",
							"two of the targets have a state of this number", "advice",
							"let the code of one target keep it"));
		}
		json_array_append(list, v);
	}
}

static void merge_metadata(json_t *meta, const json_t *more, size_t object, json_t *refused)
{
	json_t *states = json_object_get(meta, "states");

	if (json_is_true(json_object_get(more, "exceptions")))
		json_object_set_new(meta, "exceptions", json_true());
	append_new(json_object_get(meta, "escapes"), json_object_get(more, "escapes"));
	append_new(json_object_get(meta, "notes"), json_object_get(more, "notes"));
	json_array_extend(json_object_get(meta, "objects"), json_object_get(more, "objects"));
	merge_symbols(json_object_get(meta, "symbols"), json_object_get(more, "symbols"), object);
	if (!json_array_size(json_object_get(more, "states")))
		return;
	if (!states) {
		states = json_array();
		json_object_set_new(meta, "states", states);
	}
	merge_states(states, json_object_get(more, "states"), refused);
}

/* The parts' metadata as one; where each part's symbols begin. */
static json_t *metadata_of(const struct klp_elf *part, size_t count, size_t *symbol_base, json_t *refused,
			   struct klp_error *e)
{
	json_t *meta = NULL;

	for (size_t i = 0; i < count; i++) {
		const struct klp_elf_section *s = &part[i].section[part[i].meta];
		json_error_t at;
		json_t *own = json_loadb((const char *)s->data, (size_t)s->size, 0, &at);

		if (!own || json_array_size(json_object_get(own, "objects")) != 1 ||
		    part[i].machine != part[0].machine) {
			klp_fail(e, EINVAL, KLP_BAD_MODULE, "part %zu of the module is none", i);
			json_decref(own);
			json_decref(meta);
			return NULL;
		}
		symbol_base[i] = json_array_size(json_object_get(meta, "symbols"));
		if (meta) {
			merge_metadata(meta, own, i, refused);
			json_decref(own);
		} else {
			meta = own;
		}
	}
	/* The new code of one object counts on the new code of the others. */
	json_object_set_new(meta, "coupled", json_true());
	return meta;
}

static int merge(const char *const *module, size_t count, const char *output, json_t *report, struct od_pool *pool,
		 struct klp_elf *part, struct klp_error *e)
{
	size_t *symbol_base = od_alloc(pool, count, sizeof(*symbol_base)), len;
	json_t *meta, *refused = json_object_get(report, "refused");
	uint8_t *image;
	int rc = 0;

	for (size_t i = 0; i < count && !rc; i++) {
		uint8_t *bytes;
		size_t size;

		rc = od_read_file(pool, module[i], &bytes, &size, e);
		if (!rc)
			rc = klp_elf_open(bytes, size, &part[i], e);
	}
	if (rc)
		return KLP_OBJDIFF_FAILED;
	meta = metadata_of(part, count, symbol_base, refused, e);
	if (!meta)
		return KLP_OBJDIFF_FAILED;
	if (json_array_size(refused)) {
		json_decref(meta);
		return KLP_OBJDIFF_REFUSED;
	}
	json_object_set_new(report, "metadata", meta);
	rc = om_merge(pool, part, symbol_base, count, meta, &image, &len, e);
	if (!rc)
		rc = om_write(output, image, len, e);
	return rc ? KLP_OBJDIFF_FAILED : KLP_OBJDIFF_BUILT;
}

int klp_objdiff_merge(const char *const *module, size_t count, const char *output, json_t **report, struct klp_error *e)
{
	struct klp_elf *part = calloc(count, sizeof(*part));
	struct od_pool pool = {NULL};
	int rc = KLP_OBJDIFF_FAILED;

	*report = json_pack("{s:[]}", "refused");
	if (!part || !count)
		klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the module");
	else if (count > KLP_MODULE_MAX_OBJECTS)
		klp_fail(e, E2BIG, KLP_LIMIT, "%zu objects, a module has at most %u", count, KLP_MODULE_MAX_OBJECTS);
	else
		rc = merge(module, count, output, *report, &pool, part, e);
	for (size_t i = 0; part && i < count; i++)
		klp_elf_close(&part[i]);
	free(part);
	od_pool_free(&pool);
	return rc;
}
