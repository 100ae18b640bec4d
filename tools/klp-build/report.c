/* SPDX-License-Identifier: Apache-2.0 */
/* What klp-build found, for people: text and JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drive.h"

/* Names come from object files: nothing that a terminal obeys gets through. */
static void kb_put(FILE *f, const char *text)
{
	for (; *text; text++)
		fputc((unsigned char)*text < ' ' || *text == 127 ? '?' : *text, f);
}

static void kb_print_entry(FILE *f, const char *what, const json_t *e)
{
	const char *symbol = kb_str(e, "symbol"), *file = kb_str(e, "file"), *section = kb_str(e, "section");

	fprintf(f, "%s: ", what);
	if (*kb_str(e, "target")) {
		kb_put(f, kb_str(e, "target"));
		fputs(": ", f);
	}
	kb_put(f, *symbol ? symbol : section);
	if (*file) {
		fputs(*symbol || *section ? " (" : "", f);
		kb_put(f, file);
		fputs(*symbol || *section ? ")" : "", f);
	}
	if (*kb_str(e, "reason")) {
		fputs(": ", f);
		kb_put(f, kb_str(e, "reason"));
	}
	if (*kb_str(e, "advice")) {
		fputs("; ", f);
		kb_put(f, kb_str(e, "advice"));
	}
	fputc('\n', f);
}

bool kb_is_named(const char *symbol, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(symbol, name, n) && (!symbol[n] || symbol[n] == '.');
}

static const char *const kb_lists[] = {"changed", "new", "removed", "data", "refused", "accepted", "again"};
#define KB_LISTS (sizeof(kb_lists) / sizeof(*kb_lists))

bool kb_report_has(const json_t *report, const char *name)
{
	json_t *e;
	size_t i;

	for (size_t k = 0; k < KB_LISTS; k++)
		json_array_foreach(json_object_get(report, kb_lists[k]), i,
				   e) if (kb_is_named(kb_str(e, "symbol"), name)) return true;
	return false;
}

void kb_report_print(const json_t *report, const char *explain)
{
	json_int_t exit_code = json_integer_value(json_object_get(report, "exit"));
	size_t i, k, shown = 0;
	json_t *e;

	if (explain) {
		for (k = 0; k < KB_LISTS; k++)
			json_array_foreach(json_object_get(report, kb_lists[k]), i,
					   e) if (kb_is_named(kb_str(e, "symbol"), explain))
			{
				kb_print_entry(stdout, kb_lists[k], e);
				shown++;
			}
		json_array_foreach(json_object_get(report, "explained"), i, e)
		{
			kb_put(stdout, explain);
			fputs(" (", stdout);
			kb_put(stdout, kb_str(e, "file"));
			fputs("): ", stdout);
			kb_put(stdout, kb_str(e, "reason"));
			fputc('\n', stdout);
		}
		if (!shown && !json_array_size(json_object_get(report, "explained")))
			printf("%s: no unit of the target has this name\n", explain);
	}
	if (exit_code == KB_REFUSED) {
		kb_error("refused");
		json_array_foreach(json_object_get(report, "refused"), i, e) kb_print_entry(stderr, "  refused", e);
	} else if (exit_code == KB_NO_CHANGE) {
		kb_error("no functional change: the diff leaves the target's code and data as they are");
		json_array_foreach(json_object_get(report, "notes"), i, e) kb_error("note: %s", json_string_value(e));
	} else if (exit_code == KB_BUILT && isatty(STDERR_FILENO)) {
		json_array_foreach(json_object_get(report, "notes"), i, e)
		    kb_progress("note: %s", json_string_value(e));
		kb_progress("%zu functions changed, %zu new", json_array_size(json_object_get(report, "changed")),
			    json_array_size(json_object_get(report, "new")));
	}
}

bool kb_report_write(const json_t *report, const char *path)
{
	FILE *f;
	bool ok;

	if (!kb_ends_with(path, ".html"))
		return !json_dump_file(report, path, JSON_INDENT(2) | JSON_SORT_KEYS);
	f = fopen(path, "w");
	if (!f)
		return false;
	kb_report_html(f, report);
	ok = !ferror(f);
	return !fclose(f) && ok;
}
