/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define KLP_NOTES_MAX (64u << 10)

static bool klp_file_is_mapped(int fd, const struct klp_mapping *m)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_ino == m->inode && major(st.st_dev) == m->dev_major &&
	       minor(st.st_dev) == m->dev_minor;
}

static int klp_mapped_file_link(const struct klp_session *s, const struct klp_object *o, const struct klp_mapping *m)
{
	char path[96];

	if (o->main)
		snprintf(path, sizeof(path), "/proc/%d/exe", (int)s->p.pid);
	else
		snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", (int)s->p.pid,
			 (unsigned long long)m->start, (unsigned long long)m->end);
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

int klp_mapped_file_open(const struct klp_session *s, const struct klp_object *o)
{
	const struct klp_mapping *m = klp_process_mapping(&s->p, o->start);
	int fd = m && m->inode ? klp_mapped_file_link(s, o, m) : -1;

	if (fd >= 0 && !klp_file_is_mapped(fd, m)) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool klp_notes_have(Elf_Data *d, const struct klp_object *o)
{
	size_t at = 0, name, desc;
	GElf_Nhdr n;

	while (d && d->d_size <= KLP_NOTES_MAX && (at = gelf_getnote(d, at, &n, &name, &desc)) > 0)
		if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 && n.n_descsz == o->build_id_len &&
		    !memcmp((const char *)d->d_buf + name, "GNU", 4) &&
		    !memcmp((const char *)d->d_buf + desc, o->build_id, o->build_id_len))
			return true;
	return false;
}

static bool klp_file_has_build_id(int fd, const struct klp_object *o)
{
	bool found = false;
	struct stat st;
	size_t n = 0;
	Elf *elf;

	/* Not the special file that somebody may have put there. */
	if (!o->build_id_len || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return false;
	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	if (elf && !elf_getphdrnum(elf, &n))
		for (size_t i = 0; i < n && i < INT_MAX && !found; i++) {
			GElf_Phdr ph;

			if (!gelf_getphdr(elf, (int)i, &ph))
				break;
			if (ph.p_type == PT_NOTE && ph.p_filesz <= KLP_NOTES_MAX && ph.p_offset <= INT64_MAX)
				found = klp_notes_have(elf_getdata_rawchunk(elf, (int64_t)ph.p_offset, ph.p_filesz,
									    ph.p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR),
						       o);
		}
	elf_end(elf);
	return found;
}

int klp_mapped_file_open_similar(const struct klp_session *s, const struct klp_object *o)
{
	const struct klp_mapping *m = klp_process_mapping(&s->p, o->start);
	char path[PATH_MAX];
	int fd;

	if (!m || !m->inode)
		return -1;
	/* The kernel's link needs more rights than a trace; an overlay shows another device than the listing. */
	fd = klp_mapped_file_link(s, o, m);
	if (fd >= 0 && (klp_file_is_mapped(fd, m) || klp_file_has_build_id(fd, o)))
		return fd;
	if (fd >= 0)
		close(fd);
	if (snprintf(path, sizeof(path), "/proc/%d/root%s", (int)s->p.pid, m->path) >= (int)sizeof(path))
		return -1;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0 && !klp_file_is_mapped(fd, m) && !klp_file_has_build_id(fd, o)) {
		close(fd);
		fd = -1;
	}
	return fd;
}
