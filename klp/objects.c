/* SPDX-License-Identifier: Apache-2.0 */
/* The ELF images that a target has mapped, parsed from its own memory. Everything read there is hostile. */
#include "klp/objects.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#define KLP_MAX_PHDRS 256u
#define KLP_NOTE_MAX (64u << 10)
#define KLP_DYN_MAX 1024u
#define KLP_DYN_CHUNK 64u /* entries read at once; KLP_DYN_MAX is a multiple */
#define KLP_SONAME_MAX 128u

void klp_objects_free(struct klp_process *p)
{
	free(p->object);
	p->object = NULL;
	p->object_count = 0;
}

static void klp_object_build_id(const struct klp_process *p, struct klp_object *o, uint64_t addr, uint64_t len)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint8_t *note;
	size_t at = 0;

	if (o->build_id_len || len < sizeof(Elf64_Nhdr) || len > KLP_NOTE_MAX || !(note = malloc((size_t)len)))
		return;
	if (klp_process_read(p, addr, note, (size_t)len, &ignored))
		len = 0;
	while (len - at >= sizeof(Elf64_Nhdr) && at < len) {
		Elf64_Nhdr n;
		size_t name, desc;

		memcpy(&n, note + at, sizeof(n));
		name = at + sizeof(n);
		if (n.n_namesz > len || n.n_descsz > len)
			break;
		desc = name + ((n.n_namesz + 3u) & ~3u);
		if (desc > len || n.n_descsz > len - desc)
			break;
		if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 && !memcmp(note + name, "GNU", 4) &&
		    n.n_descsz <= KLP_BUILD_ID_MAX) {
			memcpy(o->build_id, note + desc, n.n_descsz);
			o->build_id_len = n.n_descsz;
			break;
		}
		at = desc + ((n.n_descsz + 3u) & ~3u);
	}
	free(note);
}

/* What can be read of len bytes; behind the last readable page of a table that ends there: zeros. len <= a page. */
static void klp_object_peek(const struct klp_process *p, uint64_t addr, void *buf, size_t len)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	size_t first = 4096 - (addr & 4095);

	memset(buf, 0, len);
	if (!klp_process_read(p, addr, buf, len, &ignored))
		return;
	memset(buf, 0, len);
	if (first < len && klp_process_read(p, addr, buf, first, &ignored))
		memset(buf, 0, len);
}

/* The C library is recognised by its DT_SONAME. */
static bool klp_object_is_libc(const struct klp_process *p, const struct klp_object *o)
{
	uint64_t strtab = 0, soname = 0;
	char name[KLP_SONAME_MAX];
	Elf64_Dyn d[KLP_DYN_CHUNK];
	bool end = !o->dynamic;

	for (unsigned i = 0; i < KLP_DYN_MAX && !end; i += KLP_DYN_CHUNK) {
		klp_object_peek(p, o->dynamic + i * sizeof(*d), d, sizeof(d));
		for (unsigned n = 0; n < KLP_DYN_CHUNK && !end; n++) {
			end = d[n].d_tag == DT_NULL;
			if (d[n].d_tag == DT_STRTAB)
				strtab = d[n].d_un.d_ptr;
			if (d[n].d_tag == DT_SONAME)
				soname = d[n].d_un.d_val;
		}
	}
	if (!strtab || !soname)
		return false;
	if (strtab < o->start) /* ld.so has not relocated it (or never does: musl, the vDSO) */
		strtab += o->bias;
	klp_object_peek(p, strtab + soname, name, sizeof(name));
	name[sizeof(name) - 1] = 0;
	return !strcmp(name, "libc.so.6") || !strncmp(name, "libc.musl", 9) || !strcmp(name, "libc.so");
}

/* The segment's first page, which the file's first page fills. */
static bool klp_segment_has_header(const Elf64_Phdr *ph)
{
	return ph->p_type == PT_LOAD && !(ph->p_offset & ~4095ull) && ph->p_filesz;
}

/*
 * A linker that packs a file (lld, gold) puts the ends of two segments on one page of it, so that the page is mapped by
 * each: of a small file the first page, with the header, several times. Such a mapping is part of an object that has
 * been found, and no object of its own, if it is of that file and exactly where that object's headers put a segment
 * that begins on the file's first page. Nothing else can be at that address, so a second copy of the file (dlmopen) is
 * never taken for a part of the first. Mappings come in the order of their addresses, and the lowest has the headers.
 */
static bool klp_object_is_segment(const struct klp_process *p, const struct klp_mapping *m)
{
	uint64_t dev = (uint64_t)m->dev_major << 32 | m->dev_minor;
	struct klp_error ignored = KLP_ERROR_INIT;
	Elf64_Phdr ph[KLP_MAX_PHDRS];

	for (size_t i = p->object_count; i-- > 0;) {
		const struct klp_object *o = &p->object[i];

		if (m->start <= o->start || m->start >= o->end || o->vdso || o->dev != dev || o->inode != m->inode)
			continue;
		if (klp_process_read(p, o->phdr, ph, (size_t)o->phnum * sizeof(*ph), &ignored))
			return false;
		for (size_t k = 0; k < o->phnum; k++)
			if (klp_segment_has_header(&ph[k]) && m->start == o->bias + (ph[k].p_vaddr & ~4095ull))
				return true;
		return false; /* copies do not lie in each other: one look is enough, whatever the headers claim */
	}
	return false;
}

static bool klp_object_parse(struct klp_process *p, size_t first, struct klp_object *o, bool *interp)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	const struct klp_mapping *m = &p->map[first];
	uint64_t low = UINT64_MAX, high = 0, note_addr[8], note_len[8];
	bool header_first = false;
	size_t notes = 0;
	Elf64_Phdr *ph;
	Elf64_Ehdr eh;

	memset(o, 0, sizeof(*o));
	*interp = false;
	if (klp_process_read(p, m->start, &eh, sizeof(eh), &ignored) || memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
	    eh.e_ident[EI_CLASS] != ELFCLASS64 || (eh.e_type != ET_EXEC && eh.e_type != ET_DYN) ||
	    eh.e_phentsize != sizeof(*ph) || !eh.e_phnum || eh.e_phnum > KLP_MAX_PHDRS || eh.e_phoff > (1u << 20))
		return false;
	ph = calloc(eh.e_phnum, sizeof(*ph));
	if (!ph || klp_process_read(p, m->start + eh.e_phoff, ph, eh.e_phnum * sizeof(*ph), &ignored)) {
		free(ph);
		return false;
	}
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		if (ph[i].p_type != PT_LOAD || ph[i].p_memsz > (1ull << 40) || ph[i].p_vaddr > (1ull << 47))
			continue;
		if ((ph[i].p_vaddr & ~4095ull) < low) {
			low = ph[i].p_vaddr & ~4095ull;
			header_first = klp_segment_has_header(&ph[i]);
		}
		if (ph[i].p_vaddr + ph[i].p_memsz > high)
			high = ph[i].p_vaddr + ph[i].p_memsz;
	}
	/* With the headers in another segment than the lowest the bias would be wrong: no such linker is known. */
	if (low >= high || !header_first) {
		free(ph);
		return false;
	}
	o->type = eh.e_type;
	o->machine = eh.e_machine;
	o->bias = m->start - low;
	o->start = m->start;
	o->end = (o->bias + high + 4095) & ~4095ull;
	o->entry = eh.e_entry ? o->bias + eh.e_entry : 0;
	o->phdr = m->start + eh.e_phoff;
	o->phnum = eh.e_phnum;
	o->text_start = UINT64_MAX;
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		uint64_t at = o->bias + ph[i].p_vaddr;

		if (ph[i].p_type == PT_INTERP)
			*interp = true;
		if (at < o->start || at > o->end || ph[i].p_memsz > o->end - at)
			continue;
		switch (ph[i].p_type) {
		case PT_LOAD:
			if (!(ph[i].p_flags & PF_X))
				break;
			if (at < o->text_start)
				o->text_start = at;
			if (at + ph[i].p_memsz > o->text_end)
				o->text_end = at + ph[i].p_memsz;
			break;
		case PT_DYNAMIC:
			o->dynamic = at;
			break;
		case PT_GNU_EH_FRAME:
			o->eh_frame_hdr = at;
			o->eh_frame_hdr_len = ph[i].p_memsz;
			break;
		case PT_TLS:
			o->tls_align = ph[i].p_align;
			o->tls_memsz = ph[i].p_memsz;
			o->tls_filesz = ph[i].p_filesz;
			o->tls_vaddr = ph[i].p_vaddr;
			break;
		case PT_NOTE:
			if (notes < 8) {
				note_addr[notes] = at;
				note_len[notes++] = ph[i].p_memsz;
			}
			break;
		default:
			break;
		}
	}
	free(ph);
	if (o->text_start == UINT64_MAX)
		o->text_start = o->text_end = o->start;
	for (size_t i = 0; i < notes; i++)
		klp_object_build_id(p, o, note_addr[i], note_len[i]);
	o->dev = (uint64_t)m->dev_major << 32 | m->dev_minor;
	o->inode = m->inode;
	o->path = m->path;
	o->vdso = !strcmp(m->path, "[vdso]");
	return true;
}

/* The next mapping that can hold a part of an object. */
static const struct klp_mapping *klp_object_mapping(const struct klp_process *p, size_t *i)
{
	while (*i < p->map_count) {
		const struct klp_mapping *m = &p->map[(*i)++];

		if (m->inode || !strcmp(m->path, "[vdso]"))
			return m;
	}
	return NULL;
}

bool klp_objects_keep(struct klp_process *p, const struct klp_process *before)
{
	const struct klp_mapping *old, *now;
	size_t i = 0, k = 0;

	if (!p->object_count)
		return false;
	do {
		old = klp_object_mapping(before, &i);
		now = klp_object_mapping(p, &k);
		if (!old != !now ||
		    (old && (old->start != now->start || old->end != now->end || old->offset != now->offset ||
			     old->prot != now->prot || old->inode != now->inode || old->dev_major != now->dev_major ||
			     old->dev_minor != now->dev_minor || strcmp(old->path, now->path))))
			return false;
	} while (old);
	for (i = 0; i < p->object_count; i++)
		p->object[i].path = klp_process_mapping(p, p->object[i].start)->path;
	return true;
}

int klp_objects_read(struct klp_process *p, uint64_t main_entry, struct klp_error *e)
{
	size_t room = 0;
	bool interp = false;

	klp_objects_free(p);
	for (size_t i = 0; i < p->map_count; i++) {
		const struct klp_mapping *m = &p->map[i];
		struct klp_object o, *grown;
		bool has_interp;

		if (m->offset || !(m->prot & PROT_READ) || (!m->inode && strcmp(m->path, "[vdso]")) ||
		    klp_object_is_segment(p, m) || !klp_object_parse(p, i, &o, &has_interp))
			continue;
		o.main = o.entry && o.entry == main_entry;
		if (o.main)
			interp = has_interp;
		o.libc = !o.vdso && klp_object_is_libc(p, &o);
		if (p->object_count == room) {
			room = room ? room * 2 : 32;
			grown = realloc(p->object, room * sizeof(*grown));
			if (!grown)
				return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the object list");
			p->object = grown;
		}
		p->object[p->object_count++] = o;
	}
	for (size_t i = 0; i < p->object_count; i++) {
		if (!p->object[i].main)
			continue;
		p->machine = p->object[i].machine;
		p->object[i].libc |= !interp; /* a static program holds its C library itself */
		return 0;
	}
	return klp_fail(e, EINVAL, KLP_TARGET_MEMORY,
			"the executable of process %d is not mapped where the kernel put it", p->pid);
}

const struct klp_object *klp_process_object(const struct klp_process *p, const uint8_t *build_id, size_t len,
					    size_t *count)
{
	const struct klp_object *found = NULL;

	*count = 0;
	for (size_t i = 0; len && i < p->object_count; i++) {
		if (p->object[i].build_id_len != len || memcmp(p->object[i].build_id, build_id, len))
			continue;
		found = &p->object[i];
		(*count)++;
	}
	return found;
}

const struct klp_object *klp_process_object_at(const struct klp_process *p, uint64_t addr)
{
	for (size_t i = 0; i < p->object_count; i++)
		if (addr >= p->object[i].start && addr < p->object[i].end)
			return &p->object[i];
	return NULL;
}
