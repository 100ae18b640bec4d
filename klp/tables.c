/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unwinder's tables of one target: every ELF image that is mapped, read from the target's own memory (so that
 * deleted, replaced and hidden files, chroots and the vDSO make no difference), the loaded modules, and the ranges
 * where a trace must be refused.
 */
#include "klp/session.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "klp/arming.h"
#include "klp/mapped_file.h"
#include "unwind/image.h"

#define KLP_EH_FRAME_MAX (64u << 20)
#define KLP_SECTIONS_MAX 4096

static int klp_tables_reader(void *ctx, uint64_t addr, void *buf, size_t len)
{
	struct klp_error ignored = KLP_ERROR_INIT;

	return klp_process_read(ctx, addr, buf, len, &ignored);
}

void klp_tables_free(struct klp_session *s)
{
	klp_unw_space_free(s->space);
	free(s->text);
	s->space = NULL;
	s->text = NULL;
	s->text_count = 0;
}

static bool klp_tables_file_read(int fd, uint64_t offset, void *buf, size_t len)
{
	return offset <= INT64_MAX - len && pread(fd, buf, len, (off_t)offset) == (ssize_t)len;
}

/* Where the file's section headers say that .eh_frame lies; the header must be the one that is mapped. */
static bool klp_tables_find_section(const struct klp_session *s, const struct klp_object *o, int fd, uint64_t *addr,
				    uint64_t *len)
{
	static const char want[] = ".eh_frame";
	struct klp_error ignored = KLP_ERROR_INIT;
	char name[sizeof(want)];
	Elf64_Shdr names, sh;
	Elf64_Ehdr eh, mapped;

	if (!klp_tables_file_read(fd, 0, &eh, sizeof(eh)) ||
	    klp_process_read(&s->p, o->start, &mapped, sizeof(mapped), &ignored) || memcmp(&eh, &mapped, sizeof(eh)) ||
	    eh.e_shentsize != sizeof(sh) || !eh.e_shnum || eh.e_shnum > KLP_SECTIONS_MAX ||
	    eh.e_shstrndx >= eh.e_shnum || eh.e_shoff > INT64_MAX / 2 ||
	    !klp_tables_file_read(fd, eh.e_shoff + eh.e_shstrndx * sizeof(sh), &names, sizeof(names)) ||
	    names.sh_offset > INT64_MAX / 2)
		return false;
	for (unsigned i = 1; i < eh.e_shnum; i++) {
		if (!klp_tables_file_read(fd, eh.e_shoff + i * sizeof(sh), &sh, sizeof(sh)))
			return false;
		if (!(sh.sh_flags & SHF_ALLOC) || sh.sh_type == SHT_NOBITS || sh.sh_name >= names.sh_size ||
		    !klp_tables_file_read(fd, names.sh_offset + sh.sh_name, name, sizeof(name)) ||
		    memcmp(name, want, sizeof(want)) != 0)
			continue;
		*addr = o->bias + sh.sh_addr;
		*len = sh.sh_size;
		return true;
	}
	return false;
}

/*
 * An image without PT_GNU_EH_FRAME (gcc -static) maps its .eh_frame as well, but only the section headers say where:
 * those are in the file. The bytes come from the target's memory, and only out of a mapping that the target does not
 * write to.
 */
static int klp_tables_find_frames(const struct klp_session *s, const struct klp_object *o, struct klp_unw_object *u,
				  void **frames, struct klp_error *e)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	const struct klp_mapping *m;
	uint64_t addr = 0, len = 0;
	bool found;
	int fd;

	fd = klp_mapped_file_open(s, o);
	if (fd < 0)
		return 0;
	found = klp_tables_find_section(s, o, fd, &addr, &len);
	close(fd);
	m = found ? klp_process_mapping(&s->p, addr) : NULL;
	if (!m || (m->prot & PROT_WRITE) || addr < o->start || addr >= o->end || !len || len > KLP_EH_FRAME_MAX ||
	    len > m->end - addr)
		return 0;
	*frames = malloc((size_t)len);
	if (!*frames)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for unwind tables");
	if (klp_process_read(&s->p, addr, *frames, (size_t)len, &ignored))
		return 0;
	u->eh_frame = *frames;
	u->eh_frame_len = (size_t)len;
	u->eh_frame_addr = addr;
	return 0;
}

static int klp_tables_add_image(struct klp_session *s, const struct klp_object *o, struct klp_error *e)
{
	struct klp_unw_object u = {.name = o->path, .libc = o->libc};
	void *storage = NULL, *frames = NULL;
	int rc = klp_unw_object_from_memory(o->start, klp_tables_reader, &s->p, &u, &storage, e);

	/* An image that makes no sense is left out: every PC in it is then NO_MODULE, which is never taken for clean.
	 */
	if (rc)
		return rc == -ENOMEM ? rc : 0;
	u.name = o->path;
	u.entry = o->main ? o->entry : 0;
	if (!u.eh_frame_hdr_len)
		rc = klp_tables_find_frames(s, o, &u, &frames, e);
	if (!rc)
		rc = klp_unw_add_object(s->space, &u, e);
	free(frames);
	free(storage);
	return rc == -ENOMEM ? rc : 0;
}

static int klp_tables_add_module(struct klp_session *s, const struct klp_patch *p, struct klp_error *e)
{
	struct klp_unw_object u = {
	    .name = p->rec.name,
	    .text_start = p->rec.text,
	    .text_end = p->rec.text + p->rec.text_len,
	};
	void *frames = NULL;
	int rc;

	if (p->rec.state == KLP_PATCH_LOADING || !p->rec.text_len)
		return 0;
	if (p->rec.eh_frame_len && p->rec.eh_frame_len <= KLP_EH_FRAME_MAX) {
		frames = malloc((size_t)p->rec.eh_frame_len);
		if (!frames)
			return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for unwind tables");
		rc = klp_process_read(&s->p, p->rec.eh_frame, frames, (size_t)p->rec.eh_frame_len, e);
		if (rc) {
			free(frames);
			return rc;
		}
		u.eh_frame = frames;
		u.eh_frame_len = (size_t)p->rec.eh_frame_len;
		u.eh_frame_addr = p->rec.eh_frame;
	}
	rc = klp_unw_add_object(s->space, &u, e);
	free(frames);
	return rc < 0 ? rc : 0;
}

static int klp_tables_note_text(struct klp_session *s, struct klp_error *e)
{
	s->text = calloc(s->p.map_count + 1, sizeof(*s->text));
	if (!s->text)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the list of texts");
	for (size_t i = 0; i < s->p.map_count; i++) {
		const struct klp_mapping *m = &s->p.map[i];

		if (m->inode && m->prot & PROT_EXEC)
			s->text[s->text_count++] =
			    (struct klp_text){m->start, m->end, m->offset, m->inode, m->dev_major, m->dev_minor};
	}
	return 0;
}

int klp_tables_build(struct klp_session *s, struct klp_error *e)
{
	struct klp_site_set sites = {0};
	int rc = 0;

	klp_tables_free(s);
	s->space = klp_unw_space_new(s->p.machine);
	if (!s->space)
		return klp_fail(e, ENOTSUP, KLP_WRONG_ARCH, "no unwinder for machine %u", s->p.machine);
	rc = klp_tables_note_text(s, e);
	for (size_t i = 0; i < s->p.object_count && !rc; i++)
		rc = klp_tables_add_image(s, &s->p.object[i], e);
	for (size_t i = 0; i < s->patch_count && !rc; i++)
		rc = klp_tables_add_module(s, &s->patch[i], e);
	if (rc >= 0 && s->r.image)
		rc =
		    klp_unw_add_range(s->space, s->r.image, s->r.image + KLP_RT_TEXT_SIZE, KLP_UNW_RANGE_TRAMPOLINE, e);
	for (unsigned i = 0; s->cb && i < KLP_MAX_ARENAS && !rc; i++)
		if (s->cb->arenas[i])
			rc = klp_unw_add_range(s->space, s->cb->arenas[i] - KLP_ARENA_STUBS_SIZE, s->cb->arenas[i],
					       KLP_UNW_RANGE_TRAMPOLINE, e);
	if (rc >= 0)
		rc = klp_sites_read(s, &sites, e);
	for (size_t i = 0; i < sites.count && !rc; i++)
		rc = klp_unw_add_range(s->space, sites.site[i].rt.prefix, sites.site[i].rt.entry, KLP_UNW_RANGE_PREFIX,
				       e);
	klp_site_set_free(&sites);
	return rc < 0 ? rc : 0;
}

static bool klp_tables_is_same(const struct klp_text *t, const struct klp_mapping *m)
{
	return m->inode == t->inode && m->dev_major == t->dev_major && m->dev_minor == t->dev_minor &&
	       m->start - m->offset == t->start - t->offset;
}

/* Both lists go by address. */
static bool klp_tables_replaced(const struct klp_session *s)
{
	size_t k = 0;

	for (size_t i = 0; i < s->p.map_count; i++) {
		const struct klp_mapping *m = &s->p.map[i];

		while (k < s->text_count && s->text[k].end <= m->start)
			k++;
		if (!(m->prot & PROT_EXEC))
			continue;
		for (size_t n = k; n < s->text_count && s->text[n].start < m->end; n++)
			if (!klp_tables_is_same(&s->text[n], m))
				return true;
	}
	return false;
}

int klp_tables_renew(struct klp_session *s, struct klp_error *e)
{
	int rc = klp_process_refresh(&s->p, e);

	if (rc || !klp_tables_replaced(s))
		return rc;
	rc = klp_tables_build(s, e);
	return rc ? rc : 1;
}
