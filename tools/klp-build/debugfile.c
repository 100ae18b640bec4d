/* SPDX-License-Identifier: Apache-2.0 */
/* Where the debug information of a stripped file is. */
#include "klp-build.h"

#include <fcntl.h>
#include <gelf.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void kb_read_notes(Elf_Data *d, char hex[130])
{
	GElf_Nhdr n;
	size_t at = 0, name, desc;

	while (at < d->d_size && (at = gelf_getnote(d, at, &n, &name, &desc)) > 0) {
		const unsigned char *bytes = (const unsigned char *)d->d_buf + desc;

		if (n.n_type != NT_GNU_BUILD_ID || n.n_namesz != 4 || memcmp((const char *)d->d_buf + name, "GNU", 4))
			continue;
		for (size_t i = 0; i < n.n_descsz && i < 64; i++)
			snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	}
}

bool kb_build_id(const char *path, char hex[130], char link[256])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf_Scn *scn = NULL;
	size_t strings;
	Elf *elf;

	hex[0] = link[0] = 0;
	if (fd < 0)
		return false;
	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	if (elf && elf_kind(elf) == ELF_K_ELF && !elf_getshdrstrndx(elf, &strings))
		while ((scn = elf_nextscn(elf, scn))) {
			GElf_Shdr sh;
			const char *name = gelf_getshdr(scn, &sh) ? elf_strptr(elf, strings, sh.sh_name) : NULL;
			Elf_Data *d = name ? elf_getdata(scn, NULL) : NULL;

			if (!d || !d->d_buf)
				continue;
			if (sh.sh_type == SHT_NOTE)
				kb_read_notes(d, hex);
			else if (!strcmp(name, ".gnu_debuglink") && memchr(d->d_buf, 0, d->d_size))
				snprintf(link, 256, "%s", (const char *)d->d_buf);
		}
	elf_end(elf);
	close(fd);
	return hex[0];
}

char *kb_debug_file(const char *running, const char *where)
{
	const char *dir = where ? where : "/usr/lib/debug", *slash = strrchr(running, '/');
	char hex[130], link[256], other[130], unused[256], *own, *candidates[4] = {NULL};
	struct stat st;
	char *found = NULL;

	if (where && !stat(where, &st) && S_ISREG(st.st_mode))
		return kb_format("%s", where);
	kb_build_id(running, hex, link);
	own = kb_format("%.*s", slash ? (int)(slash - running) : 1, slash ? running : ".");
	if (strlen(hex) > 2)
		candidates[0] = kb_format("%s/.build-id/%.2s/%s.debug", dir, hex, hex + 2);
	if (*link && !strchr(link, '/')) {
		if (where) {
			candidates[1] = kb_format("%s/%s", dir, link);
			candidates[2] = kb_format("%s/.debug/%s", dir, link);
		} else {
			candidates[1] = kb_format("%s/%s", own, link);
			candidates[2] = kb_format("%s/.debug/%s", own, link);
		}
	}
	for (size_t i = 0; i < 3 && !found; i++)
		if (candidates[i] && !access(candidates[i], R_OK)) {
			/* A debug file of another build is worse than none. */
			kb_build_id(candidates[i], other, unused);
			if (!strcmp(hex, other))
				found = kb_format("%s", candidates[i]);
		}
	for (size_t i = 0; i < 3; i++)
		free(candidates[i]);
	free(own);
	return found;
}
