/* SPDX-License-Identifier: Apache-2.0 */
/* The records of a build, and what a link consists of. */
#include "klp-build.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int kb_only_records(const struct dirent *d)
{
	return kb_ends_with(d->d_name, ".json");
}

static const char *kb_get(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

json_t *kb_record_text(const struct kb_records *r, const char *path)
{
	for (size_t i = json_array_size(r->compiles); i-- > 0;) {
		json_t *o = json_array_get(r->compiles, i);

		if (json_is_true(json_object_get(o, "text")) && !strcmp(kb_get(o, "output"), path))
			return o;
	}
	return NULL;
}

/*
 * A source outside the tree that another command made for this one (distcc's .i in /tmp): the unit is that of what was
 * preprocessed, and is made of what that read. One that was made otherwise, and is no more: nobody knows.
 */
static void kb_source_elsewhere(json_t *o, const json_t *text)
{
	if (!json_is_true(json_object_get(o, "elsewhere")))
		return;
	if (text) {
		json_object_set(o, "source", json_object_get(text, "source"));
		json_object_set(o, "deps", json_object_get(text, "deps"));
		json_object_set(o, "lines", json_object_get(text, "lines"));
	} else if (access(kb_get(o, "source"), F_OK)) {
		json_object_set_new(o, "deps", json_null());
	}
}

static void kb_add_compiles(struct kb_records *r, const json_t *objects, long long seq)
{
	size_t i;
	json_t *o;

	json_array_foreach(objects, i, o)
	{
		const json_t *text = kb_record_text(r, kb_get(o, "source"));
		char *key;

		/* What the compiler made of C is no assembly of somebody's, and its code is as that command said. */
		if (text && json_is_true(json_object_get(o, "asm"))) {
			json_object_set_new(o, "asm", json_false());
			json_object_set(o, "ipa_ra", json_object_get(text, "ipa_ra"));
		}
		kb_source_elsewhere(o, text);
		key = kb_format("%s\n%s", kb_get(o, "output"), kb_get(o, "source"));
		json_object_set_new(o, "key", json_string(key));
		json_object_set_new(o, "seq", json_integer(seq));
		json_array_append(r->compiles, o);
		free(key);
	}
}

void kb_records_load(struct kb_records *r, const char *log)
{
	struct dirent **list;
	int n;

	if (!r->seen) {
		r->seen = json_object();
		r->compiles = json_array();
		r->links = json_array();
	}
	/* The names begin with the time at which the command was started. */
	n = scandir(log, &list, kb_only_records, alphasort);
	for (int i = 0; i < n; i++) {
		char *path = kb_format("%s/%s", log, list[i]->d_name);

		if (!json_object_get(r->seen, list[i]->d_name)) {
			json_t *record = json_load_file(path, 0, NULL);

			json_object_set_new(r->seen, list[i]->d_name, json_true());
			if (record) {
				r->seq++;
				kb_add_compiles(r, json_object_get(record, "objects"), r->seq);
				if (!strcmp(kb_get(record, "kind"), "link")) {
					json_object_set_new(record, "seq", json_integer(r->seq));
					json_array_append(r->links, record);
				}
				json_decref(record);
			}
		}
		free(path);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

static bool kb_before(const json_t *o, long long before)
{
	return json_integer_value(json_object_get(o, "seq")) <= before;
}

json_t *kb_record_latest(const struct kb_records *r, const char *key, long long before)
{
	for (size_t i = json_array_size(r->compiles); i-- > 0;) {
		json_t *o = json_array_get(r->compiles, i);

		if (kb_before(o, before) && !strcmp(kb_get(o, "key"), key))
			return o;
	}
	return NULL;
}

json_t *kb_link_find(const struct kb_records *r, const char *path, const char *sha, long long before)
{
	for (size_t i = json_array_size(r->links); i-- > 0;) {
		json_t *l = json_array_get(r->links, i);

		if (kb_before(l, before) && (!path || !strcmp(kb_get(l, "output"), path)) &&
		    (!sha || !strcmp(kb_get(l, "sha"), sha)))
			return l;
	}
	return NULL;
}

static json_t *kb_compile_of(const struct kb_records *r, const char *path, const char *sha, long long before)
{
	json_t *any = NULL;

	for (size_t i = json_array_size(r->compiles); i-- > 0;) {
		json_t *o = json_array_get(r->compiles, i);

		if (!kb_before(o, before) || strcmp(kb_get(o, "sha"), sha))
			continue;
		if (!strcmp(kb_get(o, "output"), path))
			return o;
		if (!any)
			any = o;
	}
	return any;
}

static void kb_link_walk(const struct kb_records *r, const json_t *link, long long before, const char *root,
			 json_t *units, json_t *missing, int depth)
{
	size_t i;
	json_t *in;

	json_array_foreach(json_object_get(link, "inputs"), i, in)
	{
		const char *path = kb_get(in, "path"), *sha = kb_get(in, "sha"), *member = kb_get(in, "member");
		json_t *o = *sha ? kb_compile_of(r, path, sha, before) : NULL, *partial;

		if (o) {
			json_object_set(units, kb_get(o, "key"), o);
			/* Of an archive's members only those count that the link took; objdiff needs to know. */
			if (*member)
				json_object_set_new(o, "member", json_true());
			continue;
		}
		partial = *sha && depth < KB_MAX_NESTING ? kb_link_find(r, NULL, sha, before) : NULL;
		if (partial) {
			kb_link_walk(r, partial, before, root, units, missing, depth + 1);
		} else {
			char *name = *member ? kb_format("%s(%s)", path, member) : kb_format("%s", path);

			json_array_append_new(missing,
					      json_pack("{s:s, s:s, s:s}", "file",
							kb_is_below(name, root) ? name + strlen(root) + 1 : name,
							"path", path, "why", kb_get(in, "why")));
			free(name);
		}
	}
}

void kb_link_units(const struct kb_records *r, const json_t *link, long long before, const char *root, json_t *units,
		   json_t *missing)
{
	kb_link_walk(r, link, before, root, units, missing, 0);
}
