/* SPDX-License-Identifier: Apache-2.0 */
/* What a patch is known by: the author's labels, and the CVE numbers that the diffs are introduced with. */
#include "klp-build.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define KB_CVE_DIGITS 4 /* CVE-YYYY-NNNN, and more digits where a year had more of them */
#define KB_CVE_MAX 24

static void kb_add_label(json_t *labels, const char *text)
{
	json_t *l;
	size_t i;

	json_array_foreach(labels, i, l) if (!strcmp(json_string_value(l), text)) return;
	json_array_append_new(labels, json_string(text));
}

static size_t kb_digits(const char *s)
{
	size_t n = 0;

	while (isdigit((unsigned char)s[n]))
		n++;
	return n;
}

static void kb_add_cves(json_t *labels, const char *text, size_t length)
{
	for (size_t i = 0; i + 4 < length; i++) {
		char name[KB_CVE_MAX];
		size_t year, number;

		if (strncasecmp(text + i, "cve-", 4))
			continue;
		year = kb_digits(text + i + 4);
		number = year == 4 && text[i + 8] == '-' ? kb_digits(text + i + 9) : 0;
		if (number < KB_CVE_DIGITS || 9 + number >= sizeof(name) || i + 9 + number > length)
			continue;
		memcpy(name, "CVE", 3);
		memcpy(name + 3, text + i + 3, 6 + number);
		name[9 + number] = 0;
		kb_add_label(labels, name);
	}
}

/* What stands before the first changed file: a mail's or a DEP-3 header. What is changed may be a list of old ones. */
static size_t kb_head(const char *text)
{
	static const char *const begins[] = {"--- ", "diff ", "Index: "};
	const char *line = text;

	while (*line) {
		const char *end = strchr(line, '\n');

		for (size_t i = 0; i < sizeof(begins) / sizeof(*begins); i++)
			if (!strncmp(line, begins[i], strlen(begins[i])))
				return (size_t)(line - text);
		line = end ? end + 1 : line + strlen(line);
	}
	return 0; /* no diff */
}

json_t *kb_labels(const struct kb_options *o)
{
	json_t *labels = json_array();

	for (size_t i = 0; i < o->label_count; i++)
		kb_add_label(labels, o->labels[i]);
	for (size_t i = 0; i < o->diff_count; i++) {
		const char *name = kb_base(o->diffs[i]);
		char *text = kb_read(o->diffs[i], KB_MAX_RECORD, NULL);

		kb_add_cves(labels, name, strlen(name));
		if (text)
			kb_add_cves(labels, text, kb_head(text));
		free(text);
	}
	return labels;
}
