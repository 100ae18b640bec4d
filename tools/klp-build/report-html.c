/* SPDX-License-Identifier: Apache-2.0 */
/* The report for who approves a patch: a page of HTML without anything from elsewhere. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drive.h"
#include "listing.h"

static long long kb_number(const json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
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
			kb_html_cell(f, "td", kb_str(e, "target"));
		kb_html_cell(f, "td", *kb_str(e, "symbol") ? kb_str(e, "symbol") : kb_str(e, "section"));
		kb_html_cell(f, "td", kb_str(e, "file"));
		kb_html_cell(f, "td", *kb_str(e, "reason") ? kb_str(e, "reason") : kb_str(e, "action"));
		kb_html_cell(f, "td", kb_str(e, "advice"));
		fputs("</tr>\n", f);
	}
	fputs("</table>\n", f);
}

static void kb_html_labels(FILE *f, const json_t *labels)
{
	json_t *l;
	size_t i;

	if (!json_array_size(labels))
		return;
	fputs("<p>", f);
	json_array_foreach(labels, i, l)
	{
		fputs(i ? ", " : "", f);
		kb_escape(f, json_string_value(l));
	}
	fputs("</p>\n", f);
}

static void kb_html_size(FILE *f, const json_t *modules)
{
	json_t *m;
	size_t i;

	json_array_foreach(modules, i, m)
	{
		const json_t *size = json_object_get(m, "size");

		if (!size)
			continue;
		fputs("<p>Module <code>", f);
		kb_escape(f, kb_str(m, "output"));
		fprintf(f, "</code>: %lld bytes; of code %lld, of constants %lld, of data %lld.</p>\n",
			kb_number(size, "file"), kb_number(size, "text"), kb_number(size, "rodata"),
			kb_number(size, "data"));
	}
}

/* Invariant T1, as a reviewer asks: what keeps a thread in the old version? */
static void kb_html_leave(FILE *f, const json_t *metadata)
{
	const json_t *objects = json_object_get(metadata, "objects");
	json_t *o, *fn, *range;
	size_t i, k, n;

	if (!json_array_size(objects))
		return;
	kb_html_cell(f, "h2", "What a thread must leave before it switches");
	kb_html_cell(
	    f, "p",
	    "A thread runs the old versions of all these functions until none of them is on its stack, and the "
	    "new ones from then on.");
	fputs("\n<table><tr><th>function</th><th>file</th><th>object</th><th>addresses in the file</th></tr>\n", f);
	json_array_foreach(objects, i, o)
	{
		json_array_foreach(json_object_get(o, "functions"), k, fn)
		{
			fputs("<tr>", f);
			kb_html_cell(f, "td", kb_str(fn, "name"));
			kb_html_cell(f, "td", kb_str(fn, "file"));
			kb_html_cell(f, "td", kb_str(o, "name"));
			fputs("<td>", f);
			json_array_foreach(json_object_get(fn, "ranges"), n, range)
			    fprintf(f, "%s0x%llx to 0x%llx", n ? ", " : "",
				    (long long)json_integer_value(json_array_get(range, 0)),
				    (long long)json_integer_value(json_array_get(range, 1)));
			fputs("</td></tr>\n", f);
		}
	}
	fputs("</table>\n", f);
}

static void kb_html_inlined(FILE *f, const json_t *list)
{
	json_t *e, *into;
	size_t i, k;

	if (!json_array_size(list))
		return;
	kb_html_cell(f, "h2", "Inlined functions that the diff changes");
	fputs("\n<table><tr><th>function</th><th>file</th><th>in the module with it</th><th>has a copy, and the same "
	      "code as "
	      "before</th></tr>\n",
	      f);
	json_array_foreach(list, i, e)
	{
		fputs("<tr>", f);
		kb_html_cell(f, "td", kb_str(e, "function"));
		kb_html_cell(f, "td", kb_str(e, "file"));
		for (int in = 1; in >= 0; in--) {
			const char *between = "";

			fputs("<td>", f);
			json_array_foreach(json_object_get(e, "into"), k, into)
			{
				if (json_is_true(json_object_get(into, "in_module")) != in)
					continue;
				fputs(between, f);
				kb_escape(f, kb_str(into, "function"));
				fputs(" (", f);
				kb_escape(f, kb_str(into, "file"));
				fputs(")", f);
				between = ", ";
			}
			fputs("</td>", f);
		}
		fputs("</tr>\n", f);
	}
	fputs("</table>\n", f);
}

static void kb_html_line(FILE *f, const json_t *line)
{
	char *at;

	if (!line) {
		fputs("<td></td>", f);
	} else if (json_object_get(line, "code")) {
		at = kb_format("%5llx  %s", kb_number(line, "at"), kb_str(line, "code"));
		kb_html_cell(f, "td", at);
		free(at);
	} else {
		at = kb_format("%s  %s", kb_str(line, "source"), kb_str(line, "text"));
		fputs("<td class=\"s\">", f);
		kb_escape(f, at);
		fputs("</td>", f);
		free(at);
	}
}

static void kb_html_sides(FILE *f, const json_t *left, const json_t *right)
{
	json_t *pairs = kb_side_by_side(left, right), *pair;
	size_t i;

	json_array_foreach(pairs, i, pair)
	{
		const json_t *l = json_array_get(pair, 0), *r = json_array_get(pair, 1);

		fputs(json_is_true(json_array_get(pair, 2)) ? "<tr>" : "<tr class=\"x\">", f);
		kb_html_line(f, json_is_null(l) ? NULL : json_array_get(left, (size_t)json_integer_value(l)));
		kb_html_line(f, json_is_null(r) ? NULL : json_array_get(right, (size_t)json_integer_value(r)));
		fputs("</tr>\n", f);
	}
	json_decref(pairs);
}

static void kb_html_code(FILE *f, const json_t *report, const char *list, const char *left, const char *right)
{
	json_t *e;
	size_t i;

	json_array_foreach(json_object_get(report, list), i, e)
	{
		const json_t *listing = json_object_get(e, "listing");

		if (!listing)
			continue;
		fputs("<details><summary><code>", f);
		kb_escape(f, kb_str(e, "symbol"));
		fputs("</code> (", f);
		kb_escape(f, kb_str(e, "file"));
		fputs(")", f);
		if (json_object_get(e, "original_size"))
			fprintf(f, ": %lld bytes, now %lld", kb_number(e, "original_size"), kb_number(e, "size"));
		else if (json_object_get(e, "size"))
			fprintf(f, ": %lld bytes", kb_number(e, "size"));
		fputs("</summary>\n<table class=\"code\"><tr>", f);
		kb_html_cell(f, "th", left);
		kb_html_cell(f, "th", right);
		fputs("</tr>\n", f);
		kb_html_sides(f, json_object_get(listing, "original"), json_object_get(listing, "patched"));
		fputs("</table></details>\n", f);
	}
}

static bool kb_has_listing(const json_t *report)
{
	static const char *const lists[] = {"changed", "new", "removed", "refused"};
	json_t *e;
	size_t i;

	for (size_t k = 0; k < sizeof(lists) / sizeof(*lists); k++)
		json_array_foreach(json_object_get(report, lists[k]), i,
				   e) if (json_object_get(e, "listing")) return true;
	return false;
}

static void kb_html_listings(FILE *f, const json_t *report)
{
	if (!kb_has_listing(report))
		return;
	kb_html_cell(f, "h2", "Code");
	fputc('\n', f);
	kb_html_code(f, report, "refused", "what runs", "the original, rebuilt");
	kb_html_code(f, report, "changed", "original", "patched");
	kb_html_code(f, report, "new", "original", "patched");
	kb_html_code(f, report, "removed", "original", "patched");
}

void kb_report_html(FILE *f, const json_t *report)
{
	const json_t *build = json_object_get(report, "build");
	size_t i;
	json_t *e;

	fputs("<!DOCTYPE html>\n<html lang=\"en\"><meta "
	      "charset=\"utf-8\"><title>klp-build</title>\n<style>body{font:16px/1.5 "
	      "sans-serif;margin:2em auto;max-width:70em;padding:0 1em}table{border-collapse:collapse}td,th{border:1px "
	      "solid "
	      "#999;padding:.2em "
	      ".6em;text-align:left;vertical-align:top}td:first-child{font-family:monospace}.code{width:100%;table-"
	      "layout:fixed}.code "
	      "td{font:13px/1.3 monospace;white-space:pre-wrap;border:0;overflow-wrap:anywhere}.code "
	      ".s{color:#555}.x td{background:#fdd}.x td+td{background:#dfd}</style>\n",
	      f);
	fputs("<h1>Patch ", f);
	kb_escape(f, kb_str(report, "patch"));
	fputs(": ", f);
	kb_escape(f, kb_str(report, "result"));
	fputs("</h1>\n<p>Target <code>", f);
	kb_escape(f, kb_str(build, "target"));
	fputs("</code>, built by <code>", f);
	kb_escape(f, kb_str(build, "command"));
	fprintf(f, "</code>; %lld units, %lld compiled again, %.1f seconds.</p>\n",
		(long long)json_integer_value(json_object_get(build, "units")),
		(long long)json_integer_value(json_object_get(build, "compiled_again")),
		json_real_value(json_object_get(build, "seconds")));
	kb_html_labels(f, json_object_get(report, "labels"));
	kb_html_size(f, json_object_get(report, "modules"));
	if (json_object_get(report, "error"))
		kb_html_cell(f, "p", kb_str(json_object_get(report, "error"), "text"));
	kb_html_list(f, report, "refused", "Refused");
	kb_html_list(f, report, "accepted", "Accepted by statements of the author");
	kb_html_list(f, report, "changed", "Changed functions");
	kb_html_list(f, report, "new", "New functions");
	kb_html_list(f, report, "removed", "Removed functions");
	kb_html_list(f, report, "data", "Data");
	kb_html_list(f, report, "again", "Units that can do without something that the running file does not have");
	kb_html_inlined(f, json_object_get(report, "inlined"));
	kb_html_leave(f, json_object_get(report, "metadata"));
	if (json_array_size(json_object_get(report, "notes"))) {
		fputs("<h2>Notes</h2>\n<ul>\n", f);
		json_array_foreach(json_object_get(report, "notes"), i, e)
		{
			kb_html_cell(f, "li", json_is_string(e) ? json_string_value(e) : "");
			fputc('\n', f);
		}
		fputs("</ul>\n", f);
	}
	kb_html_listings(f, report);
	fputs("</html>\n", f);
}
