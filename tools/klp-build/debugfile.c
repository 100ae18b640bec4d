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

/* What a file says of itself and of the files that belong to it. */
struct kb_debug_links {
	char id[130], link[256];         /* its build-id, .gnu_debuglink */
	char alt[PATH_MAX], alt_id[130]; /* .gnu_debugaltlink: "NAME\0" and the build-id of that file (dwz) */
};

static void kb_read_alt(const Elf_Data *d, struct kb_debug_links *l)
{
	const unsigned char *name = d->d_buf, *end = memchr(name, 0, d->d_size);
	size_t n = end ? (size_t)(end - name) + 1 : 0;

	if (!n || n > sizeof(l->alt))
		return;
	memcpy(l->alt, name, n);
	for (size_t i = 0; i < 64 && n + i < d->d_size; i++)
		snprintf(l->alt_id + 2 * i, 3, "%02x", name[n + i]);
}

/* Regular files only: the name of one that belongs to another is from outside, and opening a pipe waits. */
static int kb_open_regular(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void kb_read_links(const char *path, struct kb_debug_links *l)
{
	int fd = kb_open_regular(path);
	Elf_Scn *scn = NULL;
	size_t strings;
	Elf *elf;

	memset(l, 0, sizeof(*l));
	if (fd < 0)
		return;
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
				kb_read_notes(d, l->id);
			else if (!strcmp(name, ".gnu_debuglink") && memchr(d->d_buf, 0, d->d_size))
				snprintf(l->link, sizeof(l->link), "%s", (const char *)d->d_buf);
			else if (!strcmp(name, ".gnu_debugaltlink"))
				kb_read_alt(d, l);
		}
	elf_end(elf);
	close(fd);
}

bool kb_build_id(const char *path, char hex[130], char link[256])
{
	struct kb_debug_links l;

	kb_read_links(path, &l);
	memcpy(hex, l.id, sizeof(l.id));
	memcpy(link, l.link, sizeof(l.link));
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

char *kb_debug_alt(const char *path)
{
	char hex[130], unused[256], *real, *slash, *found = NULL;
	struct kb_debug_links l;

	kb_read_links(path, &l);
	if (!*l.alt)
		return NULL;
	real = realpath(path, NULL);
	slash = real ? strrchr(real, '/') : NULL;
	if (slash)
		found = *l.alt == '/' ? kb_format("%s", l.alt) : kb_format("%.*s/%s", (int)(slash - real), real, l.alt);
	free(real);
	if (found && (!kb_build_id(found, hex, unused) || strcmp(hex, l.alt_id))) {
		free(found);
		found = NULL;
	}
	if (!found)
		fprintf(stderr,
			"klp-build: warning: %s: a part of its debug information is in %s, which is not there\n", path,
			l.alt);
	return found;
}
