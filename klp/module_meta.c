/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A module's metadata (docs/module-format.md): every key's presence, type and range. The text may come from a file or
 * from a target's memory; both are hostile.
 */
#include "klp/module.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KLP_META_MAX_TEXT (32u << 20)
#define KLP_META_MAX_ADDRESS (UINT64_C(1) << 56)
#define KLP_META_MAX_LABELS 4096u

/* Where in the metadata a message is about: "function 3 of object 0". */
struct klp_at {
	const char *what;
	size_t index;
};

static int klp_meta_bad(struct klp_at at, const char *key, const char *say, struct klp_error *e)
{
	if (!at.what)
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "metadata: `%s` %s", key, say);
	return klp_fail(e, EINVAL, KLP_BAD_MODULE, "metadata: `%s` of %s %zu %s", key, at.what, at.index, say);
}

static int klp_meta_get(const json_t *o, struct klp_at at, const char *key, json_type type, bool required, json_t **out,
			struct klp_error *e)
{
	json_t *v = json_object_get(o, key);

	*out = NULL;
	if (!v)
		return required ? klp_meta_bad(at, key, "is missing", e) : 0;
	if (type == JSON_TRUE ? !json_is_boolean(v) : json_typeof(v) != type)
		return klp_meta_bad(at, key, "has the wrong type", e);
	*out = v;
	return 0;
}

enum { KLP_TEXT_OPTIONAL, KLP_TEXT_REQUIRED, KLP_TEXT_NOT_EMPTY };

static int klp_meta_text(const json_t *o, struct klp_at at, const char *key, int how, size_t max, char **out,
			 struct klp_error *e)
{
	json_t *v;
	int rc = klp_meta_get(o, at, key, JSON_STRING, how != KLP_TEXT_OPTIONAL, &v, e);

	if (rc)
		return rc;
	if (v && json_string_length(v) > max)
		return klp_meta_bad(at, key, "is too long", e);
	if (how == KLP_TEXT_NOT_EMPTY && json_string_length(v) == 0)
		return klp_meta_bad(at, key, "is empty", e);
	/* jansson refuses NUL inside a string, so its length is that of the C string. */
	*out = strdup(v ? json_string_value(v) : "");
	return *out ? 0 : klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for metadata");
}

static int klp_meta_value(const json_t *v, struct klp_at at, const char *key, uint64_t max, uint64_t *out,
			  struct klp_error *e)
{
	if (!json_is_integer(v))
		return klp_meta_bad(at, key, "has the wrong type", e);
	if (json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) > max)
		return klp_meta_bad(at, key, "is out of range", e);
	*out = (uint64_t)json_integer_value(v);
	return 0;
}

static int klp_meta_number(const json_t *o, struct klp_at at, const char *key, bool required, uint64_t max,
			   uint64_t *out, struct klp_error *e)
{
	json_t *v;
	int rc = klp_meta_get(o, at, key, JSON_INTEGER, required, &v, e);

	*out = 0;
	if (rc || !v)
		return rc;
	return klp_meta_value(v, at, key, max, out, e);
}

static int klp_meta_bool(const json_t *o, struct klp_at at, const char *key, bool *out, struct klp_error *e)
{
	json_t *v;
	int rc = klp_meta_get(o, at, key, JSON_TRUE, true, &v, e);

	if (!rc)
		*out = json_is_true(v);
	return rc;
}

static int klp_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* min..max bytes as hexadecimal text. */
static int klp_meta_hex(const json_t *v, struct klp_at at, const char *key, size_t min, size_t max, uint8_t *out,
			size_t *len, struct klp_error *e)
{
	const char *s = json_string_value(v);
	size_t n = json_string_length(v);

	if (n % 2 || n / 2 < min || n / 2 > max)
		return klp_meta_bad(at, key, "has the wrong length", e);
	for (size_t i = 0; i < n / 2; i++) {
		int high = klp_hex_digit(s[2 * i]), low = klp_hex_digit(s[2 * i + 1]);

		if (high < 0 || low < 0)
			return klp_meta_bad(at, key, "is not hexadecimal", e);
		out[i] = (uint8_t)(high << 4 | low);
	}
	*len = n / 2;
	return 0;
}

static int klp_meta_ranges(const json_t *o, struct klp_at at, struct klp_module_function *fn, struct klp_error *e)
{
	json_t *ranges, *pair;
	bool whole = false;
	size_t i;
	int rc = klp_meta_get(o, at, "ranges", JSON_ARRAY, true, &ranges, e);

	if (rc)
		return rc;
	if (json_array_size(ranges) == 0 || json_array_size(ranges) > KLP_MODULE_MAX_RANGES)
		return klp_meta_bad(at, "ranges", "has an impossible length", e);
	json_array_foreach(ranges, i, pair)
	{
		struct klp_range *r = &fn->range[i];

		if (!json_is_array(pair) || json_array_size(pair) != 2)
			return klp_meta_bad(at, "ranges", "is not made of pairs", e);
		rc = klp_meta_value(json_array_get(pair, 0), at, "ranges", KLP_META_MAX_ADDRESS, &r->start, e);
		if (!rc)
			rc = klp_meta_value(json_array_get(pair, 1), at, "ranges", KLP_META_MAX_ADDRESS, &r->end, e);
		if (rc)
			return rc;
		if (r->start >= r->end)
			return klp_meta_bad(at, "ranges", "has an end before its start", e);
		whole |= r->start <= fn->address && r->end >= fn->address + fn->size;
		fn->range_count++;
	}
	/* A range list without the function itself would let a thread count as outside of it. */
	return whole ? 0 : klp_meta_bad(at, "ranges", "does not contain the function itself", e);
}

static int klp_meta_function(const json_t *o, struct klp_at at, struct klp_module_function *fn, struct klp_error *e)
{
	uint64_t sympos = 0;
	json_t *digest;
	size_t len;
	int rc;

	if (!json_is_object(o))
		return klp_meta_bad(at, "functions", "is not made of objects", e);
	rc = klp_meta_text(o, at, "name", KLP_TEXT_NOT_EMPTY, KLP_NAME_MAX, &fn->name, e);
	if (!rc)
		rc = klp_meta_text(o, at, "file", KLP_TEXT_REQUIRED, KLP_NAME_MAX, &fn->file, e);
	if (!rc)
		rc = klp_meta_text(o, at, "replacement", KLP_TEXT_NOT_EMPTY, 2 * KLP_NAME_MAX, &fn->replacement, e);
	if (!rc)
		rc = klp_meta_number(o, at, "sympos", true, UINT16_MAX, &sympos, e);
	if (!rc)
		rc = klp_meta_number(o, at, "address", true, KLP_META_MAX_ADDRESS, &fn->address, e);
	if (!rc)
		rc = klp_meta_number(o, at, "size", true, UINT32_MAX, &fn->size, e);
	if (!rc)
		rc = klp_meta_number(o, at, "recorded", true, KLP_META_MAX_ADDRESS, &fn->recorded, e);
	if (!rc)
		rc = klp_meta_bool(o, at, "exported", &fn->exported, e);
	if (!rc && fn->size == 0)
		rc = klp_meta_bad(at, "size", "is 0", e);
	if (!rc && fn->recorded > fn->address)
		rc = klp_meta_bad(at, "recorded", "lies behind the function's entry", e);
	if (!rc)
		rc = klp_meta_ranges(o, at, fn, e);
	if (!rc)
		rc = klp_meta_get(o, at, "digest", JSON_STRING, false, &digest, e);
	if (!rc && digest) {
		rc = klp_meta_hex(digest, at, "digest", sizeof(fn->digest), sizeof(fn->digest), fn->digest, &len, e);
		fn->has_digest = rc == 0;
	}
	fn->sympos = (unsigned)sympos;
	return rc;
}

/* One address, one name, one replacement: a patch says once what becomes of a function. */
static int klp_meta_function_unique(const struct klp_module_object *o, size_t n, struct klp_error *e)
{
	const struct klp_module_function *a = &o->function[n];

	for (size_t i = 0; i < n; i++) {
		const struct klp_module_function *b = &o->function[i];

		if (a->address == b->address || !strcmp(a->replacement, b->replacement) ||
		    (!strcmp(a->name, b->name) && !strcmp(a->file, b->file) && a->sympos == b->sympos))
			return klp_fail(e, EINVAL, KLP_BAD_MODULE, "metadata: functions %s and %s of %s are the same",
					b->name, a->name, o->name);
	}
	return 0;
}

const char *klp_callback_name(unsigned kind)
{
	static const char *const name[KLP_CALLBACK_KINDS] = {"pre_patch", "post_patch", "pre_unpatch", "post_unpatch"};

	return kind < KLP_CALLBACK_KINDS ? name[kind] : "callback";
}

/* Optional, {kind: {"function", "symbol"}}. */
static int klp_meta_callbacks(const json_t *o, struct klp_at at, struct klp_module_object *out, struct klp_error *e)
{
	json_t *all, *one;
	const char *key;
	int rc = klp_meta_get(o, at, "callbacks", JSON_OBJECT, false, &all, e);

	if (rc || !all)
		return rc;
	json_object_foreach(all, key, one)
	{
		unsigned kind = 0;

		while (kind < KLP_CALLBACK_KINDS && strcmp(key, klp_callback_name(kind)))
			kind++;
		if (kind == KLP_CALLBACK_KINDS || !json_is_object(one))
			return klp_meta_bad(at, "callbacks", "has something else than pre_patch and its like", e);
		rc = klp_meta_text(one, at, "symbol", KLP_TEXT_NOT_EMPTY, 2 * KLP_NAME_MAX, &out->callback[kind], e);
		if (rc)
			return rc;
	}
	return 0;
}

static int klp_meta_object(const json_t *o, struct klp_at at, struct klp_module_object *out, size_t *total,
			   struct klp_error *e)
{
	json_t *id, *functions = NULL, *v;
	size_t i;
	int rc;

	if (!json_is_object(o))
		return klp_meta_bad(at, "objects", "is not made of objects", e);
	rc = klp_meta_text(o, at, "name", KLP_TEXT_NOT_EMPTY, KLP_NAME_MAX, &out->name, e);
	if (!rc)
		rc = klp_meta_get(o, at, "build_id", JSON_STRING, true, &id, e);
	if (!rc)
		rc = klp_meta_hex(id, at, "build_id", 4, KLP_BUILD_ID_MAX, out->build_id, &out->build_id_len, e);
	if (!rc)
		rc = klp_meta_callbacks(o, at, out, e);
	if (!rc)
		rc = klp_meta_get(o, at, "functions", JSON_ARRAY, true, &functions, e);
	if (rc)
		return rc;
	if (json_array_size(functions) == 0)
		return klp_meta_bad(at, "functions", "is empty", e);
	*total += json_array_size(functions);
	if (*total > KLP_MODULE_MAX_FUNCTIONS)
		return klp_fail(e, E2BIG, KLP_LIMIT, "metadata: more than %u functions", KLP_MODULE_MAX_FUNCTIONS);
	out->function = calloc(json_array_size(functions), sizeof(*out->function));
	if (!out->function)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for metadata");
	json_array_foreach(functions, i, v)
	{
		out->function_count++; /* first, so that a failure frees what has been read */
		rc = klp_meta_function(v, (struct klp_at){"function", i}, &out->function[i], e);
		if (!rc)
			rc = klp_meta_function_unique(out, i, e);
		if (rc)
			return rc;
	}
	return 0;
}

static int klp_meta_symbol(const json_t *o, struct klp_at at, size_t objects, struct klp_module_symbol *s,
			   struct klp_error *e)
{
	json_t *how, *type;
	uint64_t object;
	const char *h, *t;
	bool tls;
	int rc;

	if (!json_is_object(o))
		return klp_meta_bad(at, "symbols", "is not made of objects", e);
	rc = klp_meta_text(o, at, "name", KLP_TEXT_NOT_EMPTY, KLP_NAME_MAX, &s->name, e);
	if (!rc)
		rc = klp_meta_text(o, at, "version", KLP_TEXT_OPTIONAL, KLP_NAME_MAX, &s->version, e);
	if (!rc)
		rc = klp_meta_get(o, at, "how", JSON_STRING, true, &how, e);
	if (!rc)
		rc = klp_meta_get(o, at, "type", JSON_STRING, true, &type, e);
	if (!rc)
		rc = klp_meta_number(o, at, "object", true, objects ? objects - 1 : 0, &object, e);
	if (rc)
		return rc;
	h = json_string_value(how);
	t = json_string_value(type);
	tls = !strcmp(t, "tls");
	if (!tls && strcmp(t, "func") && strcmp(t, "object"))
		return klp_meta_bad(at, "type", "is not known", e);
	s->object = (unsigned)object;
	s->function = !strcmp(t, "func");
	if (!strcmp(h, "address"))
		s->how = KLP_SYM_ADDRESS;
	else if (!strcmp(h, "dynamic"))
		s->how = tls ? KLP_SYM_TLS : KLP_SYM_DYNAMIC;
	else if (!strcmp(h, "tls"))
		s->how = KLP_SYM_TLS;
	else if (!strcmp(h, "klp"))
		s->how = KLP_SYM_RUNTIME;
	else
		return klp_meta_bad(at, "how", "is not known", e);
	if (tls != (s->how == KLP_SYM_TLS) || (s->how == KLP_SYM_RUNTIME && !s->function))
		return klp_meta_bad(at, "type", "does not go with `how`", e);
	rc = klp_meta_number(o, at, "address", s->how == KLP_SYM_ADDRESS, KLP_META_MAX_ADDRESS, &s->address, e);
	if (!rc)
		rc = klp_meta_number(o, at, "got", false, KLP_META_MAX_ADDRESS, &s->got, e);
	if (!rc)
		rc = klp_meta_number(o, at, "plt", false, KLP_META_MAX_ADDRESS, &s->plt, e);
	if (rc)
		return rc;
	if (s->how == KLP_SYM_TLS) {
		s->has_address = json_object_get(o, "address") != NULL;
		s->got_tls = s->got;
		s->got = s->plt = 0;
		if (!s->has_address && !s->got_tls)
			return klp_meta_bad(at, "address", "is missing, and so is `got`", e);
	}
	return 0;
}

static int klp_meta_names(const json_t *meta, const char *key, bool required, json_t **out, struct klp_error *e)
{
	struct klp_at top = {NULL, 0};
	json_t *list, *v;
	size_t i;
	int rc = klp_meta_get(meta, top, key, JSON_ARRAY, required, &list, e);

	if (rc || !list)
		return rc;
	if (json_array_size(list) > KLP_META_MAX_LABELS)
		return klp_meta_bad(top, key, "is too long", e);
	json_array_foreach(list, i, v) if (!json_is_string(v)) return klp_meta_bad(top, key, "is not made of strings",
										   e);
	if (out)
		*out = json_incref(list);
	return 0;
}

static int klp_meta_machine(const char *arch, uint16_t *machine, struct klp_error *e)
{
	static const struct {
		const char *name;
		uint16_t machine;
	} known[] = {{"x86_64", EM_X86_64}, {"aarch64", EM_AARCH64}, {"riscv64", EM_RISCV}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(arch, known[i].name)) {
			*machine = known[i].machine;
			return 0;
		}
	return klp_fail(e, EINVAL, KLP_WRONG_ARCH, "metadata: `arch` %s is not known", arch);
}

static int klp_meta_head(struct klp_module *m, struct klp_error *e)
{
	struct klp_at top = {NULL, 0};
	uint64_t format;
	char *arch = NULL, *text = NULL;
	int rc = klp_meta_number(m->meta, top, "format", true, UINT32_MAX, &format, e);

	if (!rc && format != 1)
		rc = klp_fail(e, ENOTSUP, KLP_BAD_MODULE, "metadata: format %" PRIu64 " is not 1", format);
	if (!rc)
		rc = klp_meta_text(m->meta, top, "name", KLP_TEXT_NOT_EMPTY, KLP_NAME_MAX, &m->name, e);
	if (!rc)
		rc = klp_meta_text(m->meta, top, "description", KLP_TEXT_OPTIONAL, KLP_META_MAX_TEXT, &m->description,
				   e);
	if (!rc)
		rc = klp_meta_text(m->meta, top, "arch", KLP_TEXT_NOT_EMPTY, KLP_NAME_MAX, &arch, e);
	if (!rc)
		rc = klp_meta_machine(arch, &m->machine, e);
	if (!rc)
		rc = klp_meta_text(m->meta, top, "built_with", KLP_TEXT_OPTIONAL, KLP_META_MAX_TEXT, &text, e);
	free(text);
	text = NULL;
	if (!rc)
		rc = klp_meta_text(m->meta, top, "klp_version", KLP_TEXT_OPTIONAL, KLP_NAME_MAX, &text, e);
	if (!rc)
		rc = klp_meta_bool(m->meta, top, "coupled", &m->coupled, e);
	if (!rc)
		rc = klp_meta_bool(m->meta, top, "exceptions", &m->exceptions, e);
	if (!rc)
		rc = klp_meta_names(m->meta, "escapes", true, &m->escapes, e);
	if (!rc)
		rc = klp_meta_names(m->meta, "labels", false, &m->labels, e);
	if (!rc)
		rc = klp_meta_names(m->meta, "notes", false, NULL, e);
	free(arch);
	free(text);
	return rc;
}

static int klp_meta_objects(struct klp_module *m, struct klp_error *e)
{
	struct klp_at top = {NULL, 0};
	json_t *list, *v;
	size_t i, total = 0;
	int rc = klp_meta_get(m->meta, top, "objects", JSON_ARRAY, true, &list, e);

	if (rc)
		return rc;
	if (json_array_size(list) == 0)
		return klp_meta_bad(top, "objects", "is empty", e);
	if (json_array_size(list) > KLP_MODULE_MAX_OBJECTS)
		return klp_fail(e, E2BIG, KLP_LIMIT, "metadata: more than %u objects", KLP_MODULE_MAX_OBJECTS);
	m->object = calloc(json_array_size(list), sizeof(*m->object));
	if (!m->object)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for metadata");
	json_array_foreach(list, i, v)
	{
		struct klp_module_object *o = &m->object[i];

		m->object_count++;
		rc = klp_meta_object(v, (struct klp_at){"object", i}, o, &total, e);
		if (rc)
			return rc;
		for (size_t k = 0; k < i; k++)
			if (m->object[k].build_id_len == o->build_id_len &&
			    !memcmp(m->object[k].build_id, o->build_id, o->build_id_len))
				return klp_fail(e, EINVAL, KLP_BAD_MODULE, "metadata: %s and %s have one build-id",
						m->object[k].name, o->name);
	}
	return 0;
}

static int klp_meta_symbols(struct klp_module *m, struct klp_error *e)
{
	struct klp_at top = {NULL, 0};
	json_t *list, *v;
	size_t i;
	int rc = klp_meta_get(m->meta, top, "symbols", JSON_ARRAY, true, &list, e);

	if (rc)
		return rc;
	if (json_array_size(list) > KLP_MODULE_MAX_SYMBOLS)
		return klp_fail(e, E2BIG, KLP_LIMIT, "metadata: more than %u symbols", KLP_MODULE_MAX_SYMBOLS);
	m->symbol = calloc(json_array_size(list) + 1, sizeof(*m->symbol));
	if (!m->symbol)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for metadata");
	json_array_foreach(list, i, v)
	{
		m->symbol_count++;
		rc = klp_meta_symbol(v, (struct klp_at){"symbol", i}, m->object_count, &m->symbol[i], e);
		if (rc)
			return rc;
	}
	return 0;
}

/* Optional, [{"id", "version", "symbol"}]. */
static int klp_meta_states(struct klp_module *m, struct klp_error *e)
{
	struct klp_at top = {NULL, 0};
	json_t *list, *v;
	size_t i;
	int rc = klp_meta_get(m->meta, top, "states", JSON_ARRAY, false, &list, e);

	if (rc || !list)
		return rc;
	if (json_array_size(list) > KLP_MODULE_MAX_STATES)
		return klp_fail(e, E2BIG, KLP_LIMIT, "metadata: more than %u states", KLP_MODULE_MAX_STATES);
	m->state = calloc(json_array_size(list) + 1, sizeof(*m->state));
	if (!m->state)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for metadata");
	json_array_foreach(list, i, v)
	{
		struct klp_module_state *s = &m->state[i];
		struct klp_at at = {"state", i};
		uint64_t id = 0, version = 0;

		m->state_count++;
		if (!json_is_object(v))
			return klp_meta_bad(top, "states", "is not made of objects", e);
		rc = klp_meta_number(v, at, "id", true, UINT32_MAX, &id, e);
		if (!rc)
			rc = klp_meta_number(v, at, "version", true, UINT32_MAX, &version, e);
		if (!rc)
			rc = klp_meta_text(v, at, "symbol", KLP_TEXT_NOT_EMPTY, 2 * KLP_NAME_MAX, &s->symbol, e);
		if (!rc && (!id || !version))
			rc = klp_meta_bad(at, id ? "version" : "id", "is 0", e);
		s->id = (uint32_t)id;
		s->version = (uint32_t)version;
		for (size_t k = 0; k < i && !rc; k++)
			if (m->state[k].id == s->id)
				rc = klp_meta_bad(at, "id", "stands twice", e);
		if (rc)
			return rc;
	}
	return 0;
}

int klp_module_parse_meta(const char *text, size_t len, struct klp_module *m, struct klp_error *e)
{
	json_error_t je;
	int rc = 0;

	memset(m, 0, sizeof(*m));
	if (len == 0 || len > KLP_META_MAX_TEXT)
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "metadata of %zu bytes", len);
	m->meta = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	if (!m->meta)
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "metadata: line %d: %s", je.line, je.text);
	if (!json_is_object(m->meta))
		rc = klp_fail(e, EINVAL, KLP_BAD_MODULE, "metadata: not a JSON object");
	if (!rc)
		rc = klp_meta_head(m, e);
	if (!rc)
		rc = klp_meta_objects(m, e);
	if (!rc)
		rc = klp_meta_symbols(m, e);
	if (!rc)
		rc = klp_meta_states(m, e);
	if (!rc) {
		m->meta_text = malloc(len + 1);
		if (!m->meta_text)
			rc = klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for metadata");
	}
	if (rc) {
		klp_module_free(m);
		return rc;
	}
	memcpy(m->meta_text, text, len);
	m->meta_text[len] = '\0';
	m->meta_len = len;
	return 0;
}

size_t klp_module_functions(const struct klp_module *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->object_count; i++)
		n += m->object[i].function_count;
	return n;
}

void klp_module_free(struct klp_module *m)
{
	for (size_t i = 0; i < m->object_count; i++) {
		struct klp_module_object *o = &m->object[i];

		for (size_t k = 0; k < o->function_count; k++) {
			free(o->function[k].name);
			free(o->function[k].file);
			free(o->function[k].replacement);
		}
		for (size_t k = 0; k < KLP_CALLBACK_KINDS; k++)
			free(o->callback[k]);
		free(o->function);
		free(o->name);
	}
	for (size_t i = 0; i < m->state_count; i++)
		free(m->state[i].symbol);
	free(m->state);
	for (size_t i = 0; i < m->symbol_count; i++) {
		free(m->symbol[i].name);
		free(m->symbol[i].version);
	}
	free(m->object);
	free(m->symbol);
	free(m->path);
	free(m->image);
	free(m->name);
	free(m->description);
	free(m->meta_text);
	json_decref(m->escapes);
	json_decref(m->labels);
	json_decref(m->meta);
	memset(m, 0, sizeof(*m));
}
