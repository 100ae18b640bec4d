/* SPDX-License-Identifier: Apache-2.0 */
/* What --explain says of a name that is not among the differences. */
#include <stdlib.h>
#include <string.h>

#include "drive.h"

static void kb_say(json_t *list, const char *file, const char *reason)
{
	json_array_append_new(list, json_pack("{s:s, s:s}", "file", file, "reason", reason));
}

static void kb_explain_units(const struct kb_drive *d, const struct kb_target *t, const char *name, json_t *list)
{
	const char *key, *symbol;
	json_t *unit, *bind;

	json_object_foreach(t->patched_units, key, unit)
	{
		json_t *names = json_object();
		bool has = false;

		kb_add_symbols(kb_str(unit, "kept"), names);
		json_object_foreach(names, symbol, bind) has |= kb_is_named(symbol, name);
		if (has)
			kb_say(list, kb_relative(d, kb_str(unit, "source")),
			       json_integer_value(json_object_get(unit, "seq")) > d->original_seq
				   ? "unchanged: compiled again, its code and what that refers to is the same as before"
				   : "unchanged: nothing that its unit reads is changed by the diffs");
		json_decref(names);
	}
}

/* Only touched units were compiled: what else the running file has is as it was. */
static void kb_explain_untouched(const struct kb_drive *d, const struct kb_target *t, const char *name, json_t *list)
{
	char *debug = kb_debug_file(t->shipped, d->run->o->debug);
	json_t *names = json_object(), *bind;
	const char *symbol;
	bool has = false;

	kb_add_symbols(t->shipped, names);
	if (debug)
		kb_add_symbols(debug, names);
	json_object_foreach(names, symbol, bind) has |= kb_is_named(symbol, name);
	if (has)
		kb_say(list, t->name, "unchanged: nothing that its unit reads is changed by the diffs");
	json_decref(names);
	free(debug);
}

static void kb_explain_inlined(const json_t *inlined, const char *name, json_t *list)
{
	json_t *e, *into;
	size_t i, k;

	json_array_foreach(inlined, i, e)
	{
		if (strcmp(kb_str(e, "function"), name))
			continue;
		json_array_foreach(json_object_get(e, "into"), k, into)
		{
			char *text = kb_format(
			    "a copy is inlined into %s (%s), %s", kb_str(into, "function"), kb_str(into, "file"),
			    json_is_true(json_object_get(into, "in_module")) ? "which is in the module"
									     : "whose code is the same as before");

			kb_say(list, kb_str(e, "file"), text);
			free(text);
		}
	}
}

void kb_explain(struct kb_drive *d, const char *name)
{
	json_t *list = json_array();

	kb_explain_inlined(json_object_get(d->report, "inlined"), name, list);
	for (size_t i = 0; i < d->target_count && !json_array_size(list) && !kb_report_has(d->report, name); i++)
		kb_explain_units(d, &d->target[i], name, list);
	for (size_t i = 0;
	     d->listed && i < d->target_count && !json_array_size(list) && !kb_report_has(d->report, name); i++)
		if (d->target[i].shipped)
			kb_explain_untouched(d, &d->target[i], name, list);
	json_object_set_new(d->report, "explained", list);
}
