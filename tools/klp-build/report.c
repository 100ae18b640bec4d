/* SPDX-License-Identifier: Apache-2.0 */
/* What klp-build found, for people: text, JSON, and a page of HTML without anything from elsewhere. */
#include "klp-build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *kb_field(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* Names come from object files: nothing that a terminal obeys gets through. */
static void kb_put(FILE *f, const char *text)
{
	for (; *text; text++)
		fputc((unsigned char)*text < ' ' || *text == 127 ? '?' : *text, f);
}

static void kb_print_entry(FILE *f, const char *what, const json_t *e)
{
	const char *symbol = kb_field(e, "symbol"), *file = kb_field(e, "file"), *section = kb_field(e, "section");

	fprintf(f, "%s: ", what);
	if (*kb_field(e, "target")) {
		kb_put(f, kb_field(e, "target"));
		fputs(": ", f);
	}
	kb_put(f, *symbol ? symbol : section);
	if (*file) {
		fputs(*symbol || *section ? " (" : "", f);
		kb_put(f, file);
		fputs(*symbol || *section ? ")" : "", f);
	}
	if (*kb_field(e, "reason")) {
		fputs(": ", f);
		kb_put(f, kb_field(e, "reason"));
	}
	if (*kb_field(e, "advice")) {
		fputs("; ", f);
		kb_put(f, kb_field(e, "advice"));
	}
	fputc('\n', f);
}

/* A clone (.constprop.0, .cold) is meant by its function's name, too. */
static bool kb_is_named(const char *symbol, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(symbol, name, n) && (!symbol[n] || symbol[n] == '.');
}

void kb_report_print(const json_t *report, const char *explain)
{
	static const char *const lists[] = {"changed", "new", "removed", "data", "refused", "accepted", "again"};
	json_int_t exit_code = json_integer_value(json_object_get(report, "exit"));
	size_t i, k, shown = 0;
	json_t *e;

	if (explain) {
		for (k = 0; k < sizeof(lists) / sizeof(*lists); k++)
			json_array_foreach(json_object_get(report, lists[k]), i,
					   e) if (kb_is_named(kb_field(e, "symbol"), explain))
			{
				kb_print_entry(stdout, lists[k], e);
				shown++;
			}
		if (!shown)
			printf("%s: not among the differences\n", explain);
	}
	if (exit_code == KB_REFUSED) {
		kb_error("refused");
		json_array_foreach(json_object_get(report, "refused"), i, e) kb_print_entry(stderr, "  refused", e);
	} else if (exit_code == KB_NO_CHANGE) {
		kb_error("no functional change: the diff leaves the target's code and data as they are");
	} else if (exit_code == KB_BUILT && isatty(STDERR_FILENO)) {
		json_array_foreach(json_object_get(report, "notes"), i, e)
		    kb_progress("note: %s", json_string_value(e));
		kb_progress("%zu functions changed, %zu new", json_array_size(json_object_get(report, "changed")),
			    json_array_size(json_object_get(report, "new")));
	}
}

static void kb_escape(FILE *f, const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '&':
			fputs("&amp;", f);
			break;
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		case '"':
			fputs("&quot;", f);
			break;
		default:
			/* HTML has no other control characters, and no reference to one either. */
			fputc(((unsigned char)*text < ' ' && *text != '\n' && *text != '\t') || *text == 127 ? '?'
													     : *text,
			      f);
		}
}

static void kb_html_cell(FILE *f, const char *tag, const char *text)
{
	fprintf(f, "<%s>", tag);
	kb_escape(f, text);
	fprintf(f, "</%s>", tag);
}

static void kb_html_list(FILE *f, const json_t *report, const char *key, const char *title)
{
	const json_t *list = json_object_get(report, key);
	bool several = json_array_size(json_object_get(report, "targets")) > 1;
	size_t i;
	json_t *e;

	if (!json_array_size(list))
		return;
	kb_html_cell(f, "h2", title);
	fputs("<table><tr>", f);
	if (several)
		kb_html_cell(f, "th", "target");
	fputs("<th>symbol</th><th>file</th><th>reason</th><th>advice</th></tr>\n", f);
	json_array_foreach(list, i, e)
	{
		fputs("<tr>", f);
		if (several)
			kb_html_cell(f, "td", kb_field(e, "target"));
		kb_html_cell(f, "td", *kb_field(e, "symbol") ? kb_field(e, "symbol") : kb_field(e, "section"));
		kb_html_cell(f, "td", kb_field(e, "file"));
		kb_html_cell(f, "td", *kb_field(e, "reason") ? kb_field(e, "reason") : kb_field(e, "action"));
		kb_html_cell(f, "td", kb_field(e, "advice"));
		fputs("</tr>\n", f);
	}
	fputs("</table>\n", f);
}

static void kb_html(FILE *f, const json_t *report)
{
	const json_t *build = json_object_get(report, "build");
	size_t i;
	json_t *e;

	fputs(
	    "<!DOCTYPE html>\n<html lang=\"en\"><meta "
	    "charset=\"utf-8\"><title>klp-build</title>\n<style>body{font:16px/1.5 "
	    "sans-serif;margin:2em auto;max-width:70em;padding:0 1em}table{border-collapse:collapse}td,th{border:1px "
	    "solid "
	    "#999;padding:.2em .6em;text-align:left;vertical-align:top}td:first-child{font-family:monospace}</style>\n",
	    f);
	fputs("<h1>Patch ", f);
	kb_escape(f, kb_field(report, "patch"));
	fputs(": ", f);
	kb_escape(f, kb_field(report, "result"));
	fputs("</h1>\n<p>Target <code>", f);
	kb_escape(f, kb_field(build, "target"));
	fputs("</code>, built by <code>", f);
	kb_escape(f, kb_field(build, "command"));
	fprintf(f, "</code>; %lld units, %lld compiled again, %.1f seconds.</p>\n",
		(long long)json_integer_value(json_object_get(build, "units")),
		(long long)json_integer_value(json_object_get(build, "compiled_again")),
		json_real_value(json_object_get(build, "seconds")));
	if (json_object_get(report, "error"))
		kb_html_cell(f, "p", kb_field(json_object_get(report, "error"), "text"));
	kb_html_list(f, report, "refused", "Refused");
	kb_html_list(f, report, "accepted", "Accepted by statements of the author");
	kb_html_list(f, report, "changed", "Changed functions");
	kb_html_list(f, report, "new", "New functions");
	kb_html_list(f, report, "removed", "Removed functions");
	kb_html_list(f, report, "data", "Data");
	kb_html_list(f, report, "again", "Units that can do without something that the running file does not have");
	if (json_array_size(json_object_get(report, "notes"))) {
		fputs("<h2>Notes</h2>\n<ul>\n", f);
		json_array_foreach(json_object_get(report, "notes"), i, e)
		{
			kb_html_cell(f, "li", json_is_string(e) ? json_string_value(e) : "");
			fputc('\n', f);
		}
		fputs("</ul>\n", f);
	}
	fputs("</html>\n", f);
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
	kb_html(f, report);
	ok = !ferror(f);
	return !fclose(f) && ok;
}
