/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the author states in the patched units by <klp/patch.h>: three strings for each statement, its kind, the name
 * and the reason, in a section that no program maps. Of a callback or a state the third one is its symbol in the unit.
 */
#include "drive.h"

#include <fcntl.h>
#include <gelf.h>
#include <string.h>
#include <unistd.h>

#define KB_MAX_STATEMENTS 1000 /* of one unit */

/* The next of the section's strings, NULL at its end or if it does not end within. */
static const char *kb_next_string(const char **at, const char *end)
{
	const char *text = *at, *stop = text < end ? memchr(text, 0, (size_t)(end - text)) : NULL;

	*at = stop ? stop + 1 : end;
	return stop ? text : NULL;
}

static void kb_read_section(struct kb_drive *d, const char *file, const char *at, const char *end)
{
	for (size_t n = 0; at < end; n++) {
		const char *kind = kb_next_string(&at, end), *name = kb_next_string(&at, end),
			   *why = kb_next_string(&at, end);
		json_t *s;

		if (!kind || !name || !why || n == KB_MAX_STATEMENTS ||
		    (strcmp(kind, "layout") && strcmp(kind, "data") && !kb_is_callback(kind) &&
		     strcmp(kind, "state"))) {
			kb_refuse(d, "", file, "its statements (section .klp.statement) are damaged or unknown",
				  "use the <klp/patch.h> of this version of klp");
			return;
		}
		s = json_pack("{s:s, s:s, s:s, s:s}", "kind", kind, "name", name, "file", file, "why", why);
		if (!s)
			kb_refuse(d, "", file, "a statement is not UTF-8 text", "write it in UTF-8");
		else if (!why[strspn(why, " \t\n")])
			kb_refuse(d, name, file, "a statement about it gives no reason",
				  "write why the change is right");
		else
			json_array_append(d->t->statements, s);
		json_decref(s);
	}
}

static void kb_read_statements(struct kb_drive *d, const char *file, const char *object)
{
	int fd = open(object, O_RDONLY | O_CLOEXEC);
	Elf *elf = fd >= 0 ? elf_begin(fd, ELF_C_READ, NULL) : NULL;
	Elf_Scn *scn = NULL;
	size_t strings;

	if (elf && elf_kind(elf) == ELF_K_ELF && !elf_getshdrstrndx(elf, &strings))
		while ((scn = elf_nextscn(elf, scn))) {
			GElf_Shdr sh;
			const char *name = gelf_getshdr(scn, &sh) ? elf_strptr(elf, strings, sh.sh_name) : NULL;
			Elf_Data *data = name && !strcmp(name, ".klp.statement") ? elf_getdata(scn, NULL) : NULL;

			if (data && data->d_buf)
				kb_read_section(d, file, data->d_buf, (const char *)data->d_buf + data->d_size);
		}
	elf_end(elf);
	if (fd >= 0)
		close(fd);
}

bool kb_find_statements(struct kb_drive *d)
{
	size_t before = json_array_size(json_object_get(d->report, "refused"));
	const char *key;
	json_t *unit;

	d->t->statements = json_array();
	json_object_foreach(d->t->patched_units, key, unit)
	    kb_read_statements(d, kb_relative(d, kb_str(unit, "source")), kb_str(unit, "kept"));
	kb_check_callbacks(d);
	return json_array_size(json_object_get(d->report, "refused")) == before;
}

const json_t *kb_statement_about(const struct kb_drive *d, const char *kind, const char *name)
{
	size_t i;
	json_t *s;

	json_array_foreach(d->t->statements, i, s)
	{
		if (strcmp(kb_str(s, "kind"), kind) || strcmp(kb_str(s, "name"), name))
			continue;
		return s;
	}
	return NULL;
}

void kb_accept(struct kb_drive *d, const char *symbol, const char *file, const char *reason)
{
	json_t *list = json_object_get(d->report, "accepted");

	if (!list) {
		list = json_array();
		json_object_set_new(d->report, "accepted", list);
	}
	json_array_append_new(list, json_pack("{s:o, s:s, s:s}", "symbol", json_stringn_nocheck(symbol, strlen(symbol)),
					      "file", file, "reason", reason));
}

/* A statement that nothing needs is a mistake in its name, or left over. */
void kb_note_statements(struct kb_drive *d, const char *kind)
{
	const json_t *accepted = json_object_get(d->report, "accepted");
	size_t i, k;
	json_t *s, *a;

	json_array_foreach(d->t->statements, i, s)
	{
		bool used = strcmp(kb_str(s, "kind"), kind);

		json_array_foreach(accepted, k, a) used |= !strcmp(kb_str(a, "symbol"), kb_str(s, "name"));
		if (!used)
			json_array_append_new(d->run->notes,
					      json_sprintf("%s: the statement about %s accepts nothing: it does not "
							   "change in that way",
							   kb_str(s, "file"), kb_str(s, "name")));
	}
}
