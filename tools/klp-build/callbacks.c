/* SPDX-License-Identifier: Apache-2.0 */
/* Callbacks among the author's statements: a patch has at most one of each kind. objdiff puts them into the module. */
#include "drive.h"

#include <stdlib.h>
#include <string.h>

bool kb_is_callback(const char *kind)
{
	return !strcmp(kind, "pre_patch") || !strcmp(kind, "post_patch") || !strcmp(kind, "pre_unpatch") ||
	       !strcmp(kind, "post_unpatch");
}

void kb_check_callbacks(struct kb_drive *d)
{
	size_t i, k;
	json_t *s, *other;

	json_array_foreach(d->t->statements, i, s)
	{
		const char *kind = kb_str(s, "kind");

		if (!kb_is_callback(kind))
			continue;
		json_array_foreach(d->t->statements, k, other)
		{
			char *text;

			if (k >= i || strcmp(kb_str(other, "kind"), kind))
				continue;
			text = kb_format("a second %s callback: %s has one already, %s", kind, kb_str(other, "file"),
					 kb_str(other, "name"));
			kb_refuse(d, kb_str(s, "name"), kb_str(s, "file"), text,
				  "a patch has one callback of a kind: let one function call the other");
			free(text);
		}
	}
}
