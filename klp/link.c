/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The linker of modules. Three passes over the same layout: sections are placed by their flags, relocations are counted
 * (which slots and PLT entries the module needs), and, once an address is known, bytes are copied and relocations
 * applied.
 *
 *   TEXT    executable sections, then the module's PLT entries       RODATA  read-only sections, then the module's
 * slots (GOT) DATA    writable sections                                        META    JSON text, then the function
 * table, then the addresses of callbacks and of states
 */
#include "klp/link.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "klp/module_elf.h"
#include "klp/reloc.h"
#include "klp/machine.h"
#include "klp/resolve.h"
#include "klp/runtime/rt.h"
#include "unwind/image.h"

#define KLP_LINK_MAX_SIZE (256u << 20) /* bytes of a linked module */
#define KLP_LINK_MAX_RELOCS (8u << 20)
#define KLP_GOT_ALIGN 16u
#define KLP_LINK_MAX_ALIGN 4096u /* NOPs before aligned code */
#define KLP_NAMES_MAX (4u << 20) /* bytes of names that debuggers are told; what is beyond has none */

/* Kinds of slots. One symbol may need several. */
enum klp_got_kind {
	KLP_GOT_ADDRESS,
	KLP_GOT_CALL,
	KLP_GOT_OFFSET,
	KLP_GOT_GD,
	KLP_GOT_LD,
	KLP_GOT_DESC,
	KLP_GOT_KINDS
};

struct klp_place {
	enum klp_segment_kind seg; /* KLP_SEG_COUNT: the section is not linked */
	uint64_t offset;           /* in the segment */
};

/* A relocation that others speak of, by the place that it is at. */
struct klp_high {
	size_t section;
	uint64_t offset;
	const uint8_t *rela;
};

/* What the code of a section asks of its place: offset in its segment = residue, modulo align. */
struct klp_shift {
	uint64_t align, residue;
};

struct klp_layout {
	const struct klp_module *m;
	unsigned object; /* what is laid out: the module's part for this one */
	struct klp_elf f;
	struct klp_place *place;        /* by section */
	uint32_t (*got)[KLP_GOT_KINDS]; /* by symbol: first word of the slot + 1, 0 none */
	uint32_t *plt;                  /* by symbol: number of its PLT entry + 1, 0 none */
	struct klp_shift *shift;        /* by section */
	struct klp_high *high;          /* sorted before the last pass */
	size_t high_count, high_room;
	uint32_t got_words, plt_count;
	uint64_t used[KLP_SEG_COUNT];
	uint64_t got_offset, plt_offset, functions_offset, fdes_offset, names_offset; /* in RODATA, TEXT, META... */
	struct klp_segment seg[KLP_SEG_COUNT];
	uint64_t size;
	size_t eh_frame; /* section index, 0 none */
	size_t function_count;
	/* the last pass */
	uint64_t base;
	struct klp_resolver *resolver;
	uint8_t *got_done; /* by word: the slot is filled in */
};

/* One relocation, decoded and checked. */
struct klp_reloc {
	const struct klp_reloc_info *info;
	size_t section, symbol;
	uint64_t offset;
	int64_t addend;
	const uint8_t *rela; /* its place in the table */
};

static uint64_t klp_align(uint64_t v, uint64_t align)
{
	return align > 1 ? (v + align - 1) & ~(align - 1) : v;
}

static const char *klp_symbol_text(const struct klp_layout *l, size_t index)
{
	const struct klp_elf_symbol *s = &l->f.symbol[index];

	if (s->external != KLP_ELF_NO_SYMBOL)
		return s->external_name;
	if (*s->name)
		return s->name;
	return s->shndx < l->f.section_count && s->shndx ? l->f.section[s->shndx].name : "(no symbol)";
}

static int klp_section_place(struct klp_layout *l, size_t index, uint64_t page, struct klp_error *e)
{
	const struct klp_elf_section *s = &l->f.section[index];
	struct klp_place *p = &l->place[index];

	p->seg = KLP_SEG_COUNT;
	if (!(s->flags & SHF_ALLOC) || s->type == SHT_NULL || s->object != l->object)
		return 0;
	if ((s->flags & SHF_WRITE) && (s->flags & SHF_EXECINSTR))
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "section %s is writable and executable", s->name);
	if (s->flags & SHF_TLS)
		return klp_fail(e, ENOTSUP, KLP_UNSUPPORTED,
				"section %s: a module cannot bring thread-local variables of its own", s->name);
	if (s->flags & SHF_COMPRESSED)
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "section %s is compressed", s->name);
	switch (s->type) {
	case SHT_PROGBITS:
	case SHT_NOBITS:
	case SHT_NOTE:
	case SHT_X86_64_UNWIND:
		break;
	case SHT_INIT_ARRAY:
	case SHT_FINI_ARRAY:
	case SHT_PREINIT_ARRAY:
		return klp_fail(e, ENOTSUP, KLP_UNSUPPORTED,
				"section %s: constructors and destructors of a module would not run", s->name);
	default:
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "section %s has the unknown type 0x%x", s->name, s->type);
	}
	if (s->align & (s->align - 1))
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "section %s has the alignment %" PRIu64, s->name, s->align);
	if (s->align > page)
		return klp_fail(e, ENOTSUP, KLP_LIMIT,
				"section %s wants the alignment %" PRIu64 ", at most a page is possible", s->name,
				s->align);
	if (!strcmp(s->plain, ".eh_frame")) {
		if (l->eh_frame)
			return klp_fail(e, EINVAL, KLP_BAD_MODULE, "two sections .eh_frame");
		if (!s->data)
			return 0;
		l->eh_frame = index;
	}
	if (s->flags & SHF_EXECINSTR)
		p->seg = KLP_SEG_TEXT;
	else if (!(s->flags & SHF_WRITE) || index == l->eh_frame)
		p->seg = KLP_SEG_RODATA;
	else
		p->seg = KLP_SEG_DATA;
	p->offset = klp_align(l->used[p->seg], s->align);
	/* Its NOPs count as they are: the whole section moves, where that helps. */
	if (l->shift[index].align && s->align <= l->shift[index].align && l->shift[index].align <= page)
		p->offset =
		    l->used[p->seg] + ((l->shift[index].residue - l->used[p->seg]) & (l->shift[index].align - 1));
	if (s->size > KLP_LINK_MAX_SIZE || p->offset > KLP_LINK_MAX_SIZE - s->size)
		return klp_fail(e, EFBIG, KLP_LIMIT, "section %s: a linked module has at most %u bytes", s->name,
				KLP_LINK_MAX_SIZE);
	l->used[p->seg] = p->offset + s->size;
	return 0;
}

static int klp_reloc_decode(const struct klp_layout *l, size_t section, const uint8_t *at, struct klp_reloc *r,
			    struct klp_error *e)
{
	const struct klp_elf_section *s = &l->f.section[section];
	Elf64_Rela rela;
	uint32_t type;

	memcpy(&rela, at, sizeof(rela));
	type = (uint32_t)ELF64_R_TYPE(rela.r_info);
	r->section = section;
	r->symbol = ELF64_R_SYM(rela.r_info);
	r->offset = rela.r_offset;
	r->addend = rela.r_addend;
	r->rela = at;
	r->info = klp_reloc_find(type);
	if (r->symbol >= l->f.symbol_count)
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "a relocation in %s names a symbol that does not exist",
				s->name);
	if (!r->info)
		return klp_fail(e, ENOTSUP, KLP_BAD_RELOC, "unknown relocation type %u against %s in %s", type,
				klp_symbol_text(l, r->symbol), s->name);
	if (r->info->class == KLP_REL_REFUSED)
		return klp_fail(e, ENOTSUP, KLP_BAD_RELOC, "relocation %s against %s in %s is not supported",
				r->info->name, klp_symbol_text(l, r->symbol), s->name);
	if (r->info->class == KLP_REL_NONE)
		return 0;
	if (!s->data || r->offset > s->size || s->size - r->offset < r->info->width)
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "a relocation %s lies outside section %s", r->info->name,
				s->name);
	return 0;
}

static bool klp_reloc_branches(const struct klp_layout *l, const struct klp_reloc *r)
{
	const struct klp_elf_section *s = &l->f.section[r->section];

	return l->place[r->section].seg == KLP_SEG_TEXT &&
	       klp_reloc_is_branch(r->info, s->data, s->size, r->offset, r->addend);
}

static enum klp_got_kind klp_reloc_got_kind(const struct klp_layout *l, const struct klp_reloc *r)
{
	const struct klp_elf_section *s = &l->f.section[r->section];

	switch (r->info->class) {
	case KLP_REL_GOT:
		return l->place[r->section].seg == KLP_SEG_TEXT &&
			       klp_reloc_is_slot_call(r->info, s->data, s->size, r->offset)
			   ? KLP_GOT_CALL
			   : KLP_GOT_ADDRESS;
	case KLP_REL_GOT_TPOFF:
		return KLP_GOT_OFFSET;
	case KLP_REL_TLS_GD:
		return KLP_GOT_GD;
	case KLP_REL_TLS_LD:
		return KLP_GOT_LD;
	case KLP_REL_TLS_DESC:
		return KLP_GOT_DESC;
	default:
		return KLP_GOT_KINDS;
	}
}

/* What an R_*_ALIGN asks for: the power of two above the number of NOPs' bytes. 0: it cannot be met. */
static uint64_t klp_reloc_alignment(uint64_t nops)
{
	uint64_t align = 1;

	if (nops > KLP_LINK_MAX_ALIGN)
		return 0;
	while (align <= nops)
		align *= 2;
	return align;
}

/* Several alignments of one section, which only agree or not. Those that do not are found when they are applied. */
static void klp_shift_add(struct klp_shift *s, uint64_t offset, uint64_t nops)
{
	uint64_t align = klp_reloc_alignment(nops);

	if (align > s->align) {
		s->align = align;
		s->residue = -(offset + nops) & (align - 1);
	}
}

/* Before sections are placed; what is wrong with a table is said later. */
static void klp_shifts_find(struct klp_layout *l)
{
	for (size_t i = 1; i < l->f.section_count; i++) {
		const struct klp_elf_section *s = &l->f.section[i];

		if (s->type != SHT_RELA || s->info >= l->f.section_count || s->entsize != sizeof(Elf64_Rela) ||
		    !s->data)
			continue;
		for (size_t k = 0; k < s->size / sizeof(Elf64_Rela); k++) {
			const struct klp_reloc_info *info;
			Elf64_Rela rela;

			memcpy(&rela, s->data + k * sizeof(rela), sizeof(rela));
			info = klp_reloc_find((uint32_t)ELF64_R_TYPE(rela.r_info));
			if (info && info->class == KLP_REL_ALIGN)
				klp_shift_add(&l->shift[s->info], rela.r_offset, (uint64_t)rela.r_addend);
		}
	}
}

static int klp_high_add(struct klp_layout *l, const struct klp_reloc *r, struct klp_error *e)
{
	if (l->high_count == l->high_room) {
		size_t room = l->high_room ? 2 * l->high_room : 64;
		struct klp_high *p = realloc(l->high, room * sizeof(*p));

		if (!p)
			return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory to link module '%s'", l->m->name);
		l->high = p;
		l->high_room = room;
	}
	l->high[l->high_count++] = (struct klp_high){r->section, r->offset, r->rela};
	return 0;
}

static int klp_high_compare(const void *a, const void *b)
{
	const struct klp_high *x = a, *y = b;

	if (x->section != y->section)
		return x->section < y->section ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static bool klp_reloc_is_tls(const struct klp_reloc *r)
{
	return r->info->class >= KLP_REL_TPOFF && r->info->class != KLP_REL_NONE;
}

static int klp_other_object(const struct klp_layout *l, const struct klp_reloc *r, unsigned object, struct klp_error *e)
{
	return klp_fail(e, ENOTSUP, KLP_UNSUPPORTED, "section %s is for %s, but refers to %s, which belongs to %s",
			l->f.section[r->section].name, l->m->object[l->object].name, klp_symbol_text(l, r->symbol),
			object < l->m->object_count ? l->m->object[object].name : "no object");
}

/* Slots and PLT entries that one relocation asks for; and whether its symbol can stand there at all. */
static int klp_reloc_count(struct klp_layout *l, const struct klp_reloc *r, struct klp_error *e)
{
	const struct klp_elf_symbol *s = &l->f.symbol[r->symbol];
	enum klp_got_kind kind = klp_reloc_got_kind(l, r);
	bool external = s->external != KLP_ELF_NO_SYMBOL, tls;

	if (r->info->class == KLP_REL_NONE || r->info->class == KLP_REL_ALIGN)
		return 0;
	if (klp_reloc_is_high(r->info)) {
		int rc = klp_high_add(l, r, e);

		if (rc)
			return rc;
	}
	if (r->info->class == KLP_REL_PAIRED && (external || !s->shndx || s->shndx >= SHN_LORESERVE))
		return klp_fail(e, EINVAL, KLP_BAD_RELOC, "relocation %s in %s has no place of the module's own",
				r->info->name, l->f.section[r->section].name);
	tls = external && l->m->symbol[s->external].how == KLP_SYM_TLS;
	/* The objects' parts lie apart, each within reach of its own object only. */
	if (external && l->m->symbol[s->external].how != KLP_SYM_RUNTIME &&
	    l->m->symbol[s->external].object != l->object)
		return klp_other_object(l, r, l->m->symbol[s->external].object, e);
	if (!external && s->shndx && s->shndx < l->f.section_count && l->f.section[s->shndx].object != l->object)
		return klp_other_object(l, r, l->f.section[s->shndx].object, e);
	if (klp_reloc_is_tls(r) != tls)
		return klp_fail(e, EINVAL, KLP_BAD_RELOC,
				"relocation %s in %s does not go with %s, which is %sthread-local", r->info->name,
				l->f.section[r->section].name, klp_symbol_text(l, r->symbol), tls ? "" : "not ");
	if (!external && s->shndx < SHN_LORESERVE && s->shndx && l->place[s->shndx].seg == KLP_SEG_COUNT)
		return klp_fail(e, EINVAL, KLP_BAD_RELOC, "relocation %s in %s refers to %s, which is not linked",
				r->info->name, l->f.section[r->section].name, klp_symbol_text(l, r->symbol));
	if (!external && r->symbol == 0 && r->info->class == KLP_REL_GOT)
		return klp_fail(e, EINVAL, KLP_BAD_RELOC, "relocation %s in %s has no symbol", r->info->name,
				l->f.section[r->section].name);
	if (kind != KLP_GOT_KINDS && !l->got[r->symbol][kind]) {
		l->got[r->symbol][kind] = l->got_words + 1;
		l->got_words += kind == KLP_GOT_GD || kind == KLP_GOT_LD || kind == KLP_GOT_DESC ? 2 : 1;
	}
	/* Whether it will be out of reach is known only with the address; room is kept for each. */
	if (external && klp_reloc_branches(l, r) && !l->plt[r->symbol]) {
		l->plt[r->symbol] = ++l->plt_count;
		if (!l->got[r->symbol][KLP_GOT_CALL]) {
			l->got[r->symbol][KLP_GOT_CALL] = l->got_words + 1;
			l->got_words++;
		}
	}
	return 0;
}

/* Calls fn for every relocation of a linked section. */
static int klp_relocs_each(struct klp_layout *l,
			   int (*fn)(struct klp_layout *l, const struct klp_reloc *r, struct klp_error *e),
			   struct klp_error *e)
{
	size_t total = 0;

	for (size_t i = 1; i < l->f.section_count; i++) {
		const struct klp_elf_section *s = &l->f.section[i];
		struct klp_reloc r;

		if (s->type != SHT_RELA && s->type != SHT_REL)
			continue;
		if (s->info >= l->f.section_count)
			return klp_fail(e, EINVAL, KLP_BAD_MODULE, "section %s relocates a section that does not exist",
					s->name);
		if (l->place[s->info].seg == KLP_SEG_COUNT)
			continue;
		if (s->type == SHT_REL || s->link != l->f.symtab || s->entsize != sizeof(Elf64_Rela) ||
		    s->size % sizeof(Elf64_Rela))
			return klp_fail(e, EINVAL, KLP_BAD_MODULE, "section %s is not a table of relocations", s->name);
		total += (size_t)(s->size / sizeof(Elf64_Rela));
		if (total > KLP_LINK_MAX_RELOCS)
			return klp_fail(e, E2BIG, KLP_LIMIT, "more than %u relocations", KLP_LINK_MAX_RELOCS);
		for (size_t k = 0; k < s->size / sizeof(Elf64_Rela); k++) {
			int rc = klp_reloc_decode(l, s->info, s->data + k * sizeof(Elf64_Rela), &r, e);

			if (!rc)
				rc = fn(l, &r, e);
			if (rc)
				return rc;
		}
	}
	return 0;
}

static void klp_layout_free(struct klp_layout *l)
{
	free(l->place);
	free(l->got);
	free(l->plt);
	free(l->shift);
	free(l->high);
	free(l->got_done);
	klp_resolver_free(l->resolver);
	klp_elf_close(&l->f);
	for (size_t k = 0; k < KLP_SEG_COUNT; k++)
		free(l->seg[k].bytes);
	memset(l, 0, sizeof(*l));
}

/* At most so many FDEs are in the module's .eh_frame. */
static size_t klp_eh_entries(const struct klp_layout *l)
{
	const struct klp_elf_section *s = l->eh_frame ? &l->f.section[l->eh_frame] : NULL;
	size_t n = 0;

	for (uint64_t at = 0; s && s->data && s->size - at >= 8; n++) {
		uint32_t len;

		memcpy(&len, s->data + at, sizeof(len));
		if (len > s->size - at - 4)
			break;
		at += 4 + (uint64_t)len;
	}
	return n;
}

/* Is it a function or a datum of the module's own, of which debuggers are told? */
static bool klp_symbol_is_named(const struct klp_layout *l, const struct klp_elf_symbol *s)
{
	return (s->type == STT_FUNC || s->type == STT_OBJECT) && s->external == KLP_ELF_NO_SYMBOL && *s->name &&
	       s->shndx != SHN_UNDEF && s->shndx < l->f.section_count && l->place[s->shndx].seg != KLP_SEG_COUNT;
}

static struct klp_rt_names klp_names_count(const struct klp_layout *l)
{
	struct klp_rt_names n = {0, 1};

	for (size_t i = 1; i < l->f.symbol_count; i++) {
		const struct klp_elf_symbol *s = &l->f.symbol[i];
		size_t len = klp_symbol_is_named(l, s) ? strlen(s->name) + 1 : 0;

		if (!len || n.strings_len > KLP_NAMES_MAX - len)
			continue;
		n.count++;
		n.strings_len += (uint32_t)len;
	}
	return n;
}

static int klp_layout_segments(struct klp_layout *l, uint64_t page, struct klp_error *e)
{
	struct klp_rt_names names = klp_names_count(l);
	uint64_t at = 0;

	l->plt_offset = klp_align(l->used[KLP_SEG_TEXT], KLP_MODULE_PLT_SIZE);
	if (l->plt_count)
		l->used[KLP_SEG_TEXT] = l->plt_offset + (uint64_t)l->plt_count * KLP_MODULE_PLT_SIZE;
	l->got_offset = klp_align(l->used[KLP_SEG_RODATA], KLP_GOT_ALIGN);
	if (l->got_words)
		l->used[KLP_SEG_RODATA] = l->got_offset + (uint64_t)l->got_words * 8;
	l->functions_offset = klp_align(l->m->meta_len, KLP_GOT_ALIGN);
	l->fdes_offset = l->functions_offset + l->function_count * 16 + (KLP_CALLBACK_KINDS + l->m->state_count) * 8;
	l->names_offset = l->fdes_offset + klp_eh_entries(l) * sizeof(struct klp_rt_fde);
	l->used[KLP_SEG_META] =
	    l->names_offset + sizeof(names) + (uint64_t)names.count * sizeof(Elf64_Sym) + names.strings_len;
	for (size_t k = 0; k < KLP_SEG_COUNT; k++) {
		l->seg[k].offset = at;
		l->seg[k].size = klp_align(l->used[k], page);
		at += l->seg[k].size;
	}
	if (at > KLP_LINK_MAX_SIZE)
		return klp_fail(e, EFBIG, KLP_LIMIT,
				"the linked module would have %" PRIu64 " bytes, at most %u are possible", at,
				KLP_LINK_MAX_SIZE);
	l->size = at;
	return 0;
}

static int klp_layout_make(const struct klp_module *m, unsigned object, uint64_t page, struct klp_layout *l,
			   struct klp_error *e)
{
	int rc;

	memset(l, 0, sizeof(*l));
	l->m = m;
	l->object = object;
	if (!m->image)
		return klp_fail(e, EINVAL, KLP_INTERNAL,
				"module '%s' is known by its metadata only and cannot be linked", m->name);
	if (object >= m->object_count)
		return klp_fail(e, EINVAL, KLP_INTERNAL, "module '%s' has %zu objects", m->name, m->object_count);
	if (page < 4096 || (page & (page - 1)))
		return klp_fail(e, EINVAL, KLP_USAGE, "%" PRIu64 " is no page size", page);
	l->function_count = m->object[object].function_count;
	rc = klp_elf_open(m->image, m->size, &l->f, e);
	if (rc)
		return rc;
	l->place = calloc(l->f.section_count, sizeof(*l->place));
	l->got = calloc(l->f.symbol_count, sizeof(*l->got));
	l->plt = calloc(l->f.symbol_count, sizeof(*l->plt));
	l->shift = calloc(l->f.section_count, sizeof(*l->shift));
	if (!l->place || !l->got || !l->plt || !l->shift) {
		rc = klp_fail(e, ENOMEM, KLP_NOMEM, "no memory to link module '%s'", m->name);
	} else {
		l->place[0].seg = KLP_SEG_COUNT;
		klp_shifts_find(l);
	}
	for (size_t i = 1; i < l->f.section_count && !rc; i++)
		rc = klp_section_place(l, i, page, e);
	for (size_t i = 1; i < l->f.symbol_count && !rc; i++)
		if (l->f.symbol[i].external != KLP_ELF_NO_SYMBOL && l->f.symbol[i].external >= m->symbol_count)
			rc = klp_fail(e, EINVAL, KLP_BAD_MODULE, "symbol %s is not in the metadata",
				      l->f.symbol[i].name);
	if (!rc)
		rc = klp_relocs_each(l, klp_reloc_count, e);
	if (!rc && l->high_count)
		qsort(l->high, l->high_count, sizeof(*l->high), klp_high_compare);
	if (!rc)
		rc = klp_layout_segments(l, page, e);
	if (rc)
		klp_layout_free(l);
	return rc;
}

int klp_link_measure(const struct klp_module *m, unsigned object, uint64_t page, uint64_t *size, struct klp_error *e)
{
	struct klp_layout l;
	int rc = klp_layout_make(m, object, page, &l, e);

	if (rc)
		return rc;
	*size = l.size;
	klp_layout_free(&l);
	return 0;
}

static uint64_t klp_segment_addr(const struct klp_layout *l, enum klp_segment_kind k)
{
	return l->base + l->seg[k].offset;
}

/* Address of a symbol that is the module's own. */
static uint64_t klp_symbol_addr(const struct klp_layout *l, size_t index)
{
	const struct klp_elf_symbol *s = &l->f.symbol[index];
	const struct klp_place *p;

	if (index == 0 || s->shndx == SHN_ABS)
		return s->value;
	p = &l->place[s->shndx];
	return klp_segment_addr(l, p->seg) + p->offset + s->value;
}

static int klp_symbol_resolve(struct klp_layout *l, size_t index, bool call, uint64_t *addr, uint64_t *near_plt,
			      struct klp_error *e)
{
	const struct klp_elf_symbol *s = &l->f.symbol[index];

	*near_plt = 0;
	if (s->external == KLP_ELF_NO_SYMBOL) {
		*addr = klp_symbol_addr(l, index);
		return 0;
	}
	return call ? klp_resolve_call(l->resolver, s->external, addr, near_plt, e)
		    : klp_resolve_address(l->resolver, s->external, addr, e);
}

static int klp_tls_refused(const struct klp_layout *l, const struct klp_reloc *r, const char *why, struct klp_error *e)
{
	return klp_fail(e, ENOTSUP, KLP_BAD_RELOC, "relocation %s against thread-local %s in %s: %s", r->info->name,
			klp_symbol_text(l, r->symbol), l->f.section[r->section].name, why);
}

static int klp_got_words(struct klp_layout *l, const struct klp_reloc *r, enum klp_got_kind kind, uint64_t words[2],
			 struct klp_error *e)
{
	size_t external = l->f.symbol[r->symbol].external;
	struct klp_tls t;
	uint64_t ignored;
	int rc;

	words[1] = 0;
	if (kind == KLP_GOT_ADDRESS || kind == KLP_GOT_CALL)
		return klp_symbol_resolve(l, r->symbol, kind == KLP_GOT_CALL, &words[0], &ignored, e);
	rc = klp_resolve_tls(l->resolver, external, &t, e);
	if (rc)
		return rc;
	switch (kind) {
	case KLP_GOT_OFFSET:
		if (!t.has_tpoff)
			return klp_tls_refused(l, r, "its offset from the thread pointer is not known", e);
		words[0] = (uint64_t)t.tpoff;
		return 0;
	case KLP_GOT_GD:
	case KLP_GOT_LD:
		if (!t.has_module)
			return klp_tls_refused(l, r, "the object has no slot with its module number", e);
		words[0] = t.module;
		words[1] = kind == KLP_GOT_GD ? t.dtpoff : 0;
		return 0;
	default:
		if (!t.has_desc)
			return klp_tls_refused(l, r, "the object has no descriptor of it", e);
		words[0] = t.desc[0];
		words[1] = t.desc[1];
		return 0;
	}
}

/* The slot's place, filled in at first use. */
static int klp_got_get(struct klp_layout *l, const struct klp_reloc *r, enum klp_got_kind kind, uint64_t *addr,
		       struct klp_error *e)
{
	size_t word = l->got[r->symbol][kind] - 1u;
	uint64_t words[2];
	bool pair = kind == KLP_GOT_GD || kind == KLP_GOT_LD || kind == KLP_GOT_DESC;

	if (!l->got_done[word]) {
		int rc = klp_got_words(l, r, kind, words, e);

		if (rc)
			return rc;
		memcpy(l->seg[KLP_SEG_RODATA].bytes + l->got_offset + word * 8, words, pair ? 16 : 8);
		l->got_done[word] = 1;
	}
	*addr = klp_segment_addr(l, KLP_SEG_RODATA) + l->got_offset + word * 8;
	return 0;
}

static int klp_no_reach(const struct klp_layout *l, const struct klp_reloc *r, uint64_t value, struct klp_error *e)
{
	return klp_fail(e, ERANGE, KLP_BAD_RELOC, "relocation %s at %s+0x%" PRIx64 " does not reach %s at 0x%" PRIx64,
			r->info->name, l->f.section[r->section].name, r->offset, klp_symbol_text(l, r->symbol), value);
}

/* A direct branch: to the function, or by the object's own PLT entry, or by one of the module's. */
static int klp_apply_branch(struct klp_layout *l, const struct klp_reloc *r, uint8_t *field, uint64_t place,
			    struct klp_error *e)
{
	uint64_t addr, near_plt, entry, slot;
	uint8_t *code;
	int rc = klp_symbol_resolve(l, r->symbol, true, &addr, &near_plt, e);

	if (rc)
		return rc;
	if (!klp_reloc_store(r->info, field, place, addr, r->addend))
		return 0;
	if (near_plt && !klp_reloc_store(r->info, field, place, near_plt, r->addend))
		return 0;
	if (!l->plt[r->symbol])
		return klp_no_reach(l, r, addr, e);
	rc = klp_got_get(l, r, KLP_GOT_CALL, &slot, e);
	if (rc)
		return rc;
	code = l->seg[KLP_SEG_TEXT].bytes + l->plt_offset + (uint64_t)(l->plt[r->symbol] - 1) * KLP_MODULE_PLT_SIZE;
	entry = klp_segment_addr(l, KLP_SEG_TEXT) + (uint64_t)(code - l->seg[KLP_SEG_TEXT].bytes);
	if (klp_module_plt_encode(code, entry, slot) || klp_reloc_store(r->info, field, place, entry, r->addend))
		return klp_no_reach(l, r, entry, e);
	return 0;
}

static int klp_apply_tls(struct klp_layout *l, const struct klp_reloc *r, uint8_t *code, uint64_t code_len,
			 uint64_t place, struct klp_error *e)
{
	uint8_t *field = code + r->offset;
	struct klp_tls t;
	uint64_t slot;
	int rc = klp_resolve_tls(l->resolver, l->f.symbol[r->symbol].external, &t, e);

	if (rc)
		return rc;
	switch (r->info->class) {
	case KLP_REL_TPOFF:
		if (!t.has_tpoff)
			return klp_tls_refused(l, r, "its offset from the thread pointer is not known", e);
		if (klp_reloc_store(r->info, field, place, (uint64_t)t.tpoff, r->addend))
			return klp_no_reach(l, r, (uint64_t)t.tpoff, e);
		return 0;
	case KLP_REL_DTPOFF:
		if (!t.has_module)
			return klp_tls_refused(l, r, "its place in the object's block is not known", e);
		if (klp_reloc_store(r->info, field, place, t.dtpoff, r->addend))
			return klp_no_reach(l, r, t.dtpoff, e);
		return 0;
	case KLP_REL_TLS_DESC:
	case KLP_REL_TLS_DESC_CALL:
		if (t.has_tpoff) {
			rc = klp_reloc_relax_desc(r->info, code, code_len, r->offset, t.tpoff);
			if (rc == -ERANGE)
				return klp_no_reach(l, r, (uint64_t)t.tpoff, e);
			return rc ? klp_tls_refused(l, r, "not the instruction that the ABI prescribes there", e) : 0;
		}
		if (r->info->class == KLP_REL_TLS_DESC_CALL)
			return t.has_desc ? 0 : klp_tls_refused(l, r, "the object has no descriptor of it", e);
		break;
	default:
		break;
	}
	rc = klp_got_get(l, r, klp_reloc_got_kind(l, r), &slot, e);
	if (rc)
		return rc;
	return klp_reloc_store(r->info, field, place, slot, r->addend) ? klp_no_reach(l, r, slot, e) : 0;
}

/* The NOPs before aligned code stay, so it is aligned as it is or not at all. */
static int klp_check_alignment(const struct klp_layout *l, const struct klp_reloc *r, uint64_t place,
			       struct klp_error *e)
{
	uint64_t align = klp_reloc_alignment((uint64_t)r->addend);

	if (align && !((place + (uint64_t)r->addend) & (align - 1)))
		return 0;
	return klp_fail(e, ENOTSUP, KLP_BAD_RELOC,
			"relocation %s at %s+0x%" PRIx64 ": the code behind %" PRId64
			" bytes of NOPs would not be aligned, and the linker of modules removes none: compile with "
			"-mno-relax",
			r->info->name, l->f.section[r->section].name, r->offset, r->addend);
}

/* The lower part of a distance whose upper part is at the symbol: of the same value, and from the same place. */
static int klp_apply_paired(struct klp_layout *l, const struct klp_reloc *r, uint8_t *field, struct klp_error *e)
{
	const struct klp_elf_symbol *s = &l->f.symbol[r->symbol];
	struct klp_high key = {s->shndx, s->value, NULL}, *found;
	struct klp_reloc high;
	uint64_t value, ignored, place;
	int rc;

	found = l->high_count ? bsearch(&key, l->high, l->high_count, sizeof(*l->high), klp_high_compare) : NULL;
	if (!found)
		return klp_fail(e, EINVAL, KLP_BAD_RELOC, "relocation %s at %s+0x%" PRIx64 " is paired with nothing",
				r->info->name, l->f.section[r->section].name, r->offset);
	rc = klp_reloc_decode(l, found->section, found->rela, &high, e);
	if (rc)
		return rc;
	place = klp_segment_addr(l, l->place[high.section].seg) + l->place[high.section].offset + high.offset;
	if (klp_reloc_got_kind(l, &high) != KLP_GOT_KINDS)
		rc = klp_got_get(l, &high, klp_reloc_got_kind(l, &high), &value, e);
	else
		rc = klp_symbol_resolve(l, high.symbol, false, &value, &ignored, e);
	if (rc)
		return rc;
	return klp_reloc_store(r->info, field, place, value, high.addend) ? klp_no_reach(l, r, value, e) : 0;
}

static int klp_reloc_apply(struct klp_layout *l, const struct klp_reloc *r, struct klp_error *e)
{
	const struct klp_place *p = &l->place[r->section];
	uint64_t place, value, ignored, code_len = l->f.section[r->section].size;
	uint8_t *code;
	int rc;

	if (r->info->class == KLP_REL_NONE)
		return 0;
	code = l->seg[p->seg].bytes + p->offset;
	place = klp_segment_addr(l, p->seg) + p->offset + r->offset;
	if (r->info->class == KLP_REL_ALIGN)
		return klp_check_alignment(l, r, place, e);
	if (r->info->class == KLP_REL_PAIRED)
		return klp_apply_paired(l, r, code + r->offset, e);
	if (klp_reloc_is_tls(r))
		return klp_apply_tls(l, r, code, code_len, place, e);
	if (r->info->class == KLP_REL_VALUE && klp_reloc_branches(l, r))
		return klp_apply_branch(l, r, code + r->offset, place, e);
	if (r->info->class == KLP_REL_GOT)
		rc = klp_got_get(l, r, klp_reloc_got_kind(l, r), &value, e);
	else
		rc = klp_symbol_resolve(l, r->symbol, false, &value, &ignored, e);
	if (rc)
		return rc;
	return klp_reloc_store(r->info, code + r->offset, place, value, r->addend) ? klp_no_reach(l, r, value, e) : 0;
}

static int klp_segments_fill(struct klp_layout *l, struct klp_error *e)
{
	for (size_t k = 0; k < KLP_SEG_COUNT; k++) {
		if (!l->seg[k].size)
			continue;
		l->seg[k].bytes = malloc((size_t)l->seg[k].size);
		if (!l->seg[k].bytes)
			return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory to link module '%s'", l->m->name);
		memset(l->seg[k].bytes, k == KLP_SEG_TEXT ? KLP_TEXT_FILL : 0, (size_t)l->seg[k].size);
	}
	l->got_done = calloc(l->got_words + 1u, 1);
	if (!l->got_done)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory to link module '%s'", l->m->name);
	for (size_t i = 1; i < l->f.section_count; i++) {
		const struct klp_elf_section *s = &l->f.section[i];
		const struct klp_place *p = &l->place[i];

		if (p->seg == KLP_SEG_COUNT || !s->size)
			continue;
		if (s->data)
			memcpy(l->seg[p->seg].bytes + p->offset, s->data, (size_t)s->size);
		else
			memset(l->seg[p->seg].bytes + p->offset, 0, (size_t)s->size);
	}
	memcpy(l->seg[KLP_SEG_META].bytes, l->m->meta_text, l->m->meta_len);
	return 0;
}

/* The replacements: addresses, ranges, and the table that the loader completes with its site records. */
static int klp_functions_fill(struct klp_layout *l, struct klp_linked *out, struct klp_error *e)
{
	const struct klp_module_object *o = &l->m->object[l->object];

	out->new_function = calloc(l->function_count, sizeof(*out->new_function));
	out->new_range = calloc(l->function_count, sizeof(*out->new_range));
	if (!out->new_function || !out->new_range)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory to link module '%s'", l->m->name);
	for (size_t k = 0; k < o->function_count; k++) {
		const char *name = o->function[k].replacement;
		uint64_t pair[2] = {0, 0};

		for (size_t y = 1; y < l->f.symbol_count && !pair[1]; y++) {
			const struct klp_elf_symbol *s = &l->f.symbol[y];

			if (s->type != STT_FUNC || s->shndx == SHN_UNDEF || s->shndx >= l->f.section_count ||
			    l->place[s->shndx].seg != KLP_SEG_TEXT || strcmp(s->name, name))
				continue;
			pair[1] = klp_symbol_addr(l, y);
			out->new_range[k] = (struct klp_range){pair[1], pair[1] + s->size};
		}
		if (!pair[1])
			return klp_fail(e, EINVAL, KLP_BAD_FUNCTION,
					"the module does not contain its replacement function %s", name);
		out->new_function[k] = pair[1];
		memcpy(l->seg[KLP_SEG_META].bytes + l->functions_offset + k * sizeof(pair), pair, sizeof(pair));
	}
	return 0;
}

/* The module's own symbol of that type, 0: there is none. *elsewhere: there is one, for another object. */
static uint64_t klp_own_addr(const struct klp_layout *l, const char *name, unsigned type, enum klp_segment_kind in,
			     bool *elsewhere)
{
	*elsewhere = false;
	for (size_t y = 1; y < l->f.symbol_count; y++) {
		const struct klp_elf_symbol *s = &l->f.symbol[y];

		if (s->type != type || s->shndx == SHN_UNDEF || s->shndx >= l->f.section_count || strcmp(s->name, name))
			continue;
		if (l->place[s->shndx].seg == in)
			return klp_symbol_addr(l, y);
		*elsewhere |= l->f.section[s->shndx].object != l->object;
	}
	return 0;
}

/* Behind the function table: one word for each kind of callback, 0 for none, and one for each state's record, 0 if it
 * is in another object's part. */
static int klp_callbacks_fill(struct klp_layout *l, struct klp_linked *out, struct klp_error *e)
{
	uint8_t *table = l->seg[KLP_SEG_META].bytes + l->functions_offset + l->function_count * 16;
	bool elsewhere;
	uint64_t addr;

	for (size_t k = 0; k < KLP_CALLBACK_KINDS; k++) {
		const char *name = l->m->object[l->object].callback[k];

		addr = name ? klp_own_addr(l, name, STT_FUNC, KLP_SEG_TEXT, &elsewhere) : 0;
		if (name && !addr)
			return klp_fail(e, EINVAL, KLP_BAD_MODULE, "the module does not contain its callback %s", name);
		memcpy(table + k * 8, &addr, 8);
	}
	out->state_count = l->m->state_count;
	out->state = calloc(l->m->state_count + 1, sizeof(*out->state));
	if (!out->state)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory to link module '%s'", l->m->name);
	for (size_t i = 0; i < l->m->state_count; i++) {
		addr = klp_own_addr(l, l->m->state[i].symbol, STT_OBJECT, KLP_SEG_DATA, &elsewhere);
		if (!addr && !elsewhere)
			return klp_fail(e, EINVAL, KLP_BAD_MODULE, "the module does not contain its state %s",
					l->m->state[i].symbol);
		out->state[i] = addr ? addr - klp_segment_addr(l, KLP_SEG_DATA) : KLP_LINK_NO_STATE;
		memcpy(table + (KLP_CALLBACK_KINDS + i) * 8, &addr, 8);
	}
	return 0;
}

/* Behind those: what the process's unwinder is told (invariant L3), from the .eh_frame as it is linked. */
static int klp_fdes_fill(struct klp_layout *l, struct klp_linked *out, struct klp_error *e)
{
	const struct klp_elf_section *s = l->eh_frame ? &l->f.section[l->eh_frame] : NULL;
	const struct klp_place *p = &l->place[l->eh_frame];
	uint64_t text = klp_segment_addr(l, KLP_SEG_TEXT);
	struct klp_unw_function *list;
	size_t count, room = klp_eh_entries(l);
	int rc;

	out->fdes_addr = klp_segment_addr(l, KLP_SEG_META) + l->fdes_offset;
	if (!room)
		return 0;
	rc = klp_unw_list_fdes(l->seg[p->seg].bytes + p->offset, (size_t)s->size,
			       klp_segment_addr(l, p->seg) + p->offset, text, text + l->used[KLP_SEG_TEXT], &list,
			       &count, e);
	if (rc)
		return rc;
	for (size_t i = 0; i < count && i < room; i++) {
		const struct klp_rt_fde fde = {list[i].start, list[i].end, list[i].fde};

		memcpy(l->seg[KLP_SEG_META].bytes + l->fdes_offset + i * sizeof(fde), &fde, sizeof(fde));
		out->fde_count++;
	}
	free(list);
	return 0;
}

/* Behind those: what debuggers are told (klp/symfile.h). */
static void klp_names_fill(struct klp_layout *l, struct klp_linked *out)
{
	uint8_t *at = l->seg[KLP_SEG_META].bytes + l->names_offset;
	struct klp_rt_names n = klp_names_count(l);
	uint8_t *strings = at + sizeof(n) + n.count * sizeof(Elf64_Sym);
	uint32_t used = 1;

	memcpy(at, &n, sizeof(n));
	at += sizeof(n);
	for (size_t i = 1; i < l->f.symbol_count; i++) {
		const struct klp_elf_symbol *s = &l->f.symbol[i];
		size_t len = klp_symbol_is_named(l, s) ? strlen(s->name) + 1 : 0;
		Elf64_Sym sym = {0};

		if (!len || used > KLP_NAMES_MAX - len)
			continue;
		sym.st_name = used;
		sym.st_info = (unsigned char)ELF64_ST_INFO(s->bind, s->type);
		sym.st_shndx = (uint16_t)(l->place[s->shndx].seg == KLP_SEG_TEXT ? 1 : SHN_ABS);
		sym.st_value = klp_symbol_addr(l, i);
		sym.st_size = s->size;
		memcpy(at, &sym, sizeof(sym));
		at += sizeof(sym);
		memcpy(strings + used, s->name, len);
		used += (uint32_t)len;
	}
	out->names_addr = klp_segment_addr(l, KLP_SEG_META) + l->names_offset;
}

static void klp_linked_fill(struct klp_layout *l, struct klp_linked *out)
{
	out->base = l->base;
	out->size = l->size;
	for (size_t k = 0; k < KLP_SEG_COUNT; k++) {
		out->seg[k] = l->seg[k];
		l->seg[k].bytes = NULL; /* the caller's now */
	}
	out->meta_addr = klp_segment_addr(l, KLP_SEG_META);
	out->meta_len = l->m->meta_len;
	out->functions_addr = out->meta_addr + l->functions_offset;
	out->function_count = l->function_count;
	out->text_addr = klp_segment_addr(l, KLP_SEG_TEXT);
	out->text_len = l->used[KLP_SEG_TEXT];
	if (l->eh_frame) {
		out->eh_frame_addr = klp_segment_addr(l, KLP_SEG_RODATA) + l->place[l->eh_frame].offset;
		out->eh_frame_size = l->f.section[l->eh_frame].size;
	}
}

int klp_link(const struct klp_module *m, unsigned object, const struct klp_process *p, const struct klp_object *o,
	     uint64_t base, const struct klp_chooser *chooser, struct klp_linked *out, struct klp_error *e)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct klp_layout l;
	int rc;

	memset(out, 0, sizeof(*out));
	rc = klp_layout_make(m, object, page, &l, e);
	if (rc)
		return rc;
	if (base % page || base > UINT64_MAX - l.size)
		rc = klp_fail(e, EINVAL, KLP_USAGE, "0x%" PRIx64 " is no address for a module", base);
	else if (o->machine != m->machine)
		rc = klp_fail(e, EINVAL, KLP_WRONG_ARCH, "the module is for machine %u, %s for %u", m->machine, o->path,
			      o->machine);
	l.base = base;
	if (!rc)
		rc = klp_resolver_new(m, p, o, chooser, &l.resolver, e);
	if (!rc)
		rc = klp_segments_fill(&l, e);
	if (!rc)
		rc = klp_relocs_each(&l, klp_reloc_apply, e);
	if (!rc)
		rc = klp_functions_fill(&l, out, e);
	if (!rc)
		rc = klp_callbacks_fill(&l, out, e);
	if (!rc)
		rc = klp_fdes_fill(&l, out, e);
	if (!rc) {
		klp_names_fill(&l, out);
		klp_linked_fill(&l, out);
	} else {
		klp_linked_free(out);
	}
	klp_layout_free(&l);
	return rc;
}

void klp_linked_free(struct klp_linked *l)
{
	for (size_t k = 0; k < KLP_SEG_COUNT; k++)
		free(l->seg[k].bytes);
	free(l->new_function);
	free(l->new_range);
	free(l->state);
	memset(l, 0, sizeof(*l));
}
