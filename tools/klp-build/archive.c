/* SPDX-License-Identifier: Apache-2.0 */
/* Members of ar archives, thin ones included (libelf does not read those). */
#include "klp-build.h"

#include <ar.h>
#include <stdlib.h>
#include <string.h>

#define KB_MAX_ARCHIVE (1u << 30)

static bool kb_number(const char *text, size_t width, size_t *out)
{
	size_t value = 0, i = 0;

	for (; i < width && text[i] >= '0' && text[i] <= '9'; i++)
		value = value * 10 + (size_t)(text[i] - '0');
	*out = value;
	return i > 0;
}

bool kb_archive_each(const char *path, void (*fn)(void *ctx, const char *name, const void *data, size_t size),
		     void *ctx)
{
	size_t size, at = SARMAG, names_size = 0;
	char *file = kb_read(path, KB_MAX_ARCHIVE, &size);
	const char *names = NULL;
	bool thin, ok = false;

	if (!file)
		return false;
	thin = size >= SARMAG && !memcmp(file, "!<thin>\n", SARMAG);
	if (size < SARMAG || (!thin && memcmp(file, ARMAG, SARMAG)))
		goto out;
	while (size - at >= sizeof(struct ar_hdr)) {
		const struct ar_hdr *h = (const void *)(file + at);
		const char *body = file + at + sizeof(*h);
		size_t length, left = size - at - sizeof(*h), skip;
		bool table = h->ar_name[0] == '/' && !(h->ar_name[1] >= '0' && h->ar_name[1] <= '9');
		char name[4096];

		if (memcmp(h->ar_fmag, ARFMAG, 2) || !kb_number(h->ar_size, sizeof(h->ar_size), &length))
			goto out;
		skip = thin && !table ? 0 : length;
		if (skip > left)
			goto out;
		at += sizeof(*h) + skip + (skip & 1);
		if (at > size)
			at = size;
		if (table) {
			if (h->ar_name[1] == '/') {
				names = body;
				names_size = length;
			}
			continue;
		}
		if (h->ar_name[0] == '/') {
			size_t off, n = 0;

			if (!kb_number(h->ar_name + 1, sizeof(h->ar_name) - 1, &off) || off >= names_size)
				goto out;
			while (off + n < names_size && names[off + n] != '\n' && n < sizeof(name) - 1)
				n++;
			memcpy(name, names + off, n);
			name[n] = 0;
		} else {
			memcpy(name, h->ar_name, sizeof(h->ar_name));
			name[sizeof(h->ar_name)] = 0;
			for (size_t n = sizeof(h->ar_name); n && name[n - 1] == ' '; n--)
				name[n - 1] = 0;
		}
		if (kb_ends_with(name, "/"))
			name[strlen(name) - 1] = 0;
		if (thin) {
			const char *slash = strrchr(path, '/');
			char *where = *name == '/' || !slash ? kb_format("%s", name)
							     : kb_format("%.*s/%s", (int)(slash - path), path, name);
			size_t member_size;
			char *member = kb_read(where, KB_MAX_ARCHIVE, &member_size);

			free(where);
			if (!member)
				goto out;
			fn(ctx, name, member, member_size);
			free(member);
		} else {
			fn(ctx, name, body, length);
		}
	}
	ok = true;
out:
	free(file);
	return ok;
}
