/* SPDX-License-Identifier: Apache-2.0 */
/* The module's file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tools/klp-build/objdiff/module.h"

#define OM_MAX_SECTIONS 60000 /* the file has a table of relocations for each, and no extended numbers */
#define MAX_NOPS 4096u        /* before aligned code */

struct buf {
	uint8_t *data;
	size_t len, cap;
};

static size_t put(struct od_pool *p, struct buf *b, const void *data, size_t n, size_t align)
{
	size_t at = align > 1 ? (b->len + align - 1) & ~(align - 1) : b->len;

	if (at + n > b->cap) {
		uint8_t *more;

		b->cap = 2 * (at + n) + 256;
		more = od_alloc(p, b->cap, 1);
		if (b->len)
			memcpy(more, b->data, b->len);
		b->data = more;
	}
	if (data && n)
		memcpy(b->data + at, data, n);
	b->len = at + n;
	return at;
}

struct outsec {
	const char *name;
	uint32_t type;
	uint64_t flags, size, align, entsize;
	const uint8_t *data;
	struct buf rel;
	struct od_sec *from;
};

struct out {
	struct rs *r;
	struct od_pool *p;
	uint16_t machine;
	struct outsec *sec;
	size_t count, cap;
	struct buf local, undef, str; /* Elf64_Sym, Elf64_Sym, bytes */
	size_t *undef_of;             /* by index in symbols, 0 none */
	size_t undef_cap;
	size_t strings; /* outsec of the strings */
	struct buf text;
	json_t *escapes;
	bool failed;
};

static size_t add_sec(struct out *o, struct outsec s)
{
	if (o->count == o->cap) {
		struct outsec *more;

		o->cap = 2 * o->cap + 16;
		more = od_alloc(o->p, o->cap, sizeof(*more));
		if (o->count)
			memcpy(more, o->sec, o->count * sizeof(*more));
		o->sec = more;
	}
	o->sec[o->count] = s;
	return o->count++;
}

static uint32_t add_str(struct out *o, const char *s)
{
	return (uint32_t)put(o->p, &o->str, s, strlen(s) + 1, 1);
}

static uint32_t add_local(struct out *o, const char *name, uint8_t type, uint32_t shndx, uint64_t value, uint64_t size)
{
	Elf64_Sym y = {.st_name = name ? add_str(o, name) : 0,
		       .st_info = ELF64_ST_INFO(STB_LOCAL, type),
		       .st_shndx = (uint16_t)shndx,
		       .st_value = value,
		       .st_size = size};

	return (uint32_t)(put(o->p, &o->local, &y, sizeof(y), 1) / sizeof(y));
}

/* Undefined symbols come behind the local ones; their index is marked until the number of local ones is known. */
#define UNDEF_MARK 0x80000000u

static uint32_t undef_symbol(struct out *o, size_t symbol, const char *name)
{
	Elf64_Sym y = {.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_NOTYPE)};

	if (symbol >= o->undef_cap) {
		size_t cap = 2 * symbol + 16, *more = od_alloc(o->p, cap, sizeof(*more));

		if (o->undef_cap)
			memcpy(more, o->undef_of, o->undef_cap * sizeof(*more));
		o->undef_of = more;
		o->undef_cap = cap;
	}
	if (!o->undef_of[symbol]) {
		y.st_name = add_str(o, od_printf(o->p, "klp:%zu:%s", symbol, name));
		o->undef_of[symbol] = put(o->p, &o->undef, &y, sizeof(y), 1) / sizeof(y) + 1;
	}
	return UNDEF_MARK | (uint32_t)(o->undef_of[symbol] - 1);
}

static void escape(struct out *o, const char *name)
{
	size_t i;
	json_t *v;

	json_array_foreach(o->escapes, i, v) if (!strcmp(json_string_value(v), name)) return;
	json_array_append_new(o->escapes, json_string(name));
}

/* A switch's table of distances to its own function's code, from there or from the table. */
static bool jump_table(const struct od_sec *s)
{
	for (size_t i = 0; i < s->rel_count; i++) {
		uint32_t in = s->obj->sym[s->rel[i].sym].shndx;

		if (in == s->index && od_rel_info(s, &s->rel[i]).term)
			continue;
		if (!in || in >= s->obj->sec_count || s->obj->sec[in].kind != OD_CODE)
			return false;
	}
	return s->kind == OD_ANON && s->rel_count;
}

static void note_escape(struct out *o, const struct od_sec *s, const struct od_rel *rel, const struct od_target *t)
{
	const struct od_sec *to = t->sec;

	if (od_owner((struct od_sec *)s) == od_owner((struct od_sec *)to) || jump_table(to) || jump_table(s))
		return;
	if (to->kind == OD_CONSTS || to->kind == OD_EXCEPT || s->kind == OD_EXCEPT || !strcmp(s->name, ".eh_frame"))
		return;
	if (to->kind == OD_CODE ? od_rel_use(s, rel) == OD_USE_CALL : od_only_loads(s, rel))
		return;
	escape(o, od_sec_label(to));
}

static void add_rel(struct out *o, size_t sec, uint64_t off, uint32_t type, uint32_t sym, int64_t addend)
{
	Elf64_Rela ra = {off, ((uint64_t)sym << 32) | type, addend};

	put(o->p, &o->sec[sec].rel, &ra, sizeof(ra), 1);
}

/* A string: the running file's own copy if it has one, else one of the module's. */
static void string_rel(struct out *o, size_t sec, uint64_t off, struct od_sec *s, const struct od_rel *rel,
		       struct od_target *t)
{
	uint64_t at = od_content_offset(s, rel, t), found, place;
	int64_t addend = t->sym->type == STT_SECTION ? -od_rel_bias(s, rel) : rel->addend;
	uint64_t align = 1;
	const char *text;
	size_t len;
	const struct od_sec *in;
	char *label;

	if (!t->sec->data || at >= t->sec->size || !memchr(t->sec->data + at, 0, t->sec->size - at)) {
		od_refuse(o->r->d, "", t->sec->name, s->obj->unit, "", "a string without an end");
		o->failed = true;
		return;
	}
	if (od_rel_info(s, rel).half && !od_other_half(s, rel, true, &in)) {
		od_refuse(o->r->d, od_sec_label(s), s->name, s->obj->unit, "report it to klp's authors",
			  "half of a reference to a string whose other half is not in the function");
		o->failed = true;
		return;
	}
	/* Both halves find the same copy: the choice depends on nothing but the string and where it was. */
	while (o->r->d->arch->modules->strings_aligned && align < t->sec->align && at % (2 * align) == 0)
		align *= 2;
	text = (const char *)t->sec->data + at;
	len = strlen(text) + 1;
	label = od_printf(o->p, ".rodata.str: \"%.60s\"", text);
	for (char *c = label; *c; c++)
		if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
			*c = '?';
	found = lk_find_string(&o->r->running, text, len, align);
	if (found) {
		size_t i, n = json_array_size(o->r->symbols);

		for (i = 0; i < n; i++) {
			json_t *y = json_array_get(o->r->symbols, i);

			if ((uint64_t)json_integer_value(json_object_get(y, "address")) == found &&
			    !strcmp(json_string_value(json_object_get(y, "name")), ".rodata.str"))
				break;
		}
		if (i == n)
			json_array_append_new(o->r->symbols, json_pack("{s:s,s:s,s:s,s:i,s:I}", "name", ".rodata.str",
								       "how", "address", "type", "object", "object", 0,
								       "address", (json_int_t)found));
		add_rel(o, sec, off, rel->type, undef_symbol(o, i, ".rodata.str"), addend);
		return;
	}
	if (!o->strings)
		o->strings = add_sec(
		    o, (struct outsec){.name = ".rodata.str", .type = SHT_PROGBITS, .flags = SHF_ALLOC, .align = 1});
	place = 0;
	while (place < o->text.len && (place % align || strcmp((char *)o->text.data + place, text)))
		place += strlen((char *)o->text.data + place) + 1;
	if (place >= o->text.len)
		place = put(o->p, &o->text, text, len, align);
	if (o->sec[o->strings].align < align)
		o->sec[o->strings].align = align;
	escape(o, label);
	/* the symbol is the string itself: the addend stays what the instruction needs */
	add_rel(o, sec, off, rel->type, add_local(o, NULL, STT_NOTYPE, (uint32_t)o->strings + 1, place, len), addend);
}

/* It names its high half, which says what is meant. */
static void low_half(struct out *o, size_t sec, uint64_t off, struct od_sec *s, const struct od_rel *rel)
{
	const struct od_sym *label = &s->obj->sym[rel->sym];
	const struct od_sec *in = s;
	struct od_target t;

	if (!od_rel_meant(&in, rel) || rel->addend || !in->out_sym) {
		od_refuse_sec(o->r->d, s, "report it to the compiler's authors",
			      "the low half of an address names no high half that is in the module, or several");
		o->failed = true;
		return;
	}
	t = od_resolve(&o->r->d->global_after, s, rel);
	if (t.sec && t.sec->out_sym && t.sec->kind != OD_CODE) /* of code the high half says it */
		note_escape(o, s, rel, &t);
	add_rel(o, sec, off, rel->type, add_local(o, NULL, STT_NOTYPE, in->out_shndx, label->value, 0), 0);
}

static void one_rel(struct out *o, size_t sec, uint64_t off, struct od_sec *s, const struct od_rel *rel)
{
	struct rs_result x;
	uint32_t sym;

	if (od_rel_info(s, rel).by_label) {
		low_half(o, sec, off, s, rel);
		return;
	}
	if (od_rel_info(s, rel).aligns) {
		add_rel(o, sec, off, rel->type, 0, rel->addend);
		return;
	}
	x = rs_resolve(o->r, s, rel);

	switch (x.kind) {
	case RS_FAILED:
		o->failed = true;
		break;
	case RS_NONE:
		break;
	case RS_STRING:
		string_rel(o, sec, off, s, rel, &x.target);
		break;
	case RS_SYMBOL:
		add_rel(o, sec, off, rel->type, undef_symbol(o, x.symbol, x.name), x.addend);
		break;
	case RS_INTERNAL:
		if (!x.target.sec->out_sym) {
			od_refuse_sec(o->r->d, x.target.sec, "report it to klp's authors",
				      "needed by %s, but not in the module", od_sec_label(s));
			o->failed = true;
			break;
		}
		note_escape(o, s, rel, &x.target);
		if (od_rel_is_got(s, rel)) {
			/* the linker of modules makes a slot for the symbol itself: it must stand for the exact place
			 */
			sym = add_local(o, NULL, STT_NOTYPE, x.target.sec->out_shndx,
					(uint64_t)(x.target.off - rel->addend), 0);
			add_rel(o, sec, off, rel->type, sym, rel->addend);
			break;
		}
		add_rel(o, sec, off, rel->type, x.target.sec->out_sym, x.target.off);
		break;
	}
}

const char *om_function_name(struct od *d, struct od_sec *s)
{
	if (s->out_name)
		return s->out_name;
	s->out_name = od_sec_label(s);
	for (size_t i = 0; i < d->count; i++)
		for (size_t k = 0; k < d->after[i].sec_count; k++) {
			struct od_sec *x = &d->after[i].sec[k];

			if (x != s && x->included && x->kind == OD_CODE && !strcmp(od_sec_label(x), od_sec_label(s)))
				s->out_name = od_printf(&d->pool, "%s@%s%s", od_sec_label(s), s->obj->unit,
							x->obj == s->obj ? od_printf(&d->pool, ".%u", s->index) : "");
		}
	return s->out_name;
}

/* The power of two above the number of NOPs' bytes. */
static uint64_t alignment(uint64_t nops)
{
	uint64_t align = 1;

	while (align <= nops)
		align *= 2;
	return align;
}

/*
 * The linker of modules removes no NOPs: it puts the section where the greatest alignment holds, and the others must
 * hold there too.
 */
static void check_alignments(struct out *o, struct od_sec *s)
{
	uint64_t most = 1, residue = 0;

	for (unsigned pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < s->rel_count; i++) {
			uint64_t nops = (uint64_t)s->rel[i].addend, end = s->rel[i].off + nops, align;

			if (!od_rel_info(s, &s->rel[i]).aligns)
				continue;
			align = nops > MAX_NOPS ? 0 : alignment(nops);
			if (align > most) {
				most = align;
				residue = -end & (align - 1);
			}
			if (align && (!pass || !((residue + end) & (align - 1))))
				continue;
			od_refuse_sec(o->r->d, s, "compile this unit with -mno-relax",
				      "several places in it are aligned in ways that cannot hold together in a module");
			o->failed = true;
			return;
		}
}

static void add_sections(struct out *o)
{
	struct od *d = o->r->d;

	for (size_t i = 0; i < d->count; i++)
		for (size_t k = 0; k < d->after[i].sec_count; k++) {
			struct od_sec *s = &d->after[i].sec[k];
			size_t n;

			if (!s->included)
				continue;
			n = add_sec(o, (struct outsec){.name = s->name,
						       .type = s->data ? SHT_PROGBITS : SHT_NOBITS,
						       .flags = s->flags & (SHF_ALLOC | SHF_WRITE | SHF_EXECINSTR),
						       .size = s->size,
						       .align = s->align,
						       .data = s->data,
						       .from = s});
			s->out_shndx = (uint32_t)n + 1;
			s->out_sym = add_local(o, NULL, STT_SECTION, s->out_shndx, 0, 0);
			if (s->sym) {
				const struct od_sym *y = &s->obj->sym[s->sym];

				s->out_func = add_local(o, s->kind == OD_CODE ? om_function_name(d, s) : y->name,
							y->type, s->out_shndx, y->value, y->size);
			}
		}
}

static uint32_t u32_at(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static const struct od_rel *rel_in(const struct od_sec *s, uint64_t from, uint64_t to)
{
	for (size_t i = 0; i < s->rel_count; i++)
		if (s->rel[i].off >= from && s->rel[i].off < to)
			return &s->rel[i];
	return NULL;
}

static void copy_entry(struct out *o, size_t sec, struct buf *b, struct od_sec *eh, uint64_t at, uint64_t len)
{
	size_t to = put(o->p, b, eh->data + at, len, 1);

	for (size_t i = 0; i < eh->rel_count; i++)
		if (eh->rel[i].off >= at && eh->rel[i].off < at + len)
			one_rel(o, sec, to + (eh->rel[i].off - at), eh, &eh->rel[i]);
}

/* The entries of the module's functions, each unit's CIEs before them. */
static bool add_eh_frame(struct out *o)
{
	struct od *d = o->r->d;
	struct buf b = {NULL, 0, 0};
	size_t sec = 0;

	for (size_t i = 0; i < d->count; i++)
		for (size_t k = 0; k < d->after[i].sec_count; k++) {
			struct od_sec *eh = &d->after[i].sec[k];
			uint64_t at = 0, n;
			struct cie {
				uint64_t from;
				size_t to;
			} cie[64];
			size_t cies = 0;

			if (strcmp(eh->name, ".eh_frame") || !eh->data)
				continue;
			for (; at + 8 <= eh->size; at += n) {
				const struct od_rel *rel;
				struct od_target t;
				uint64_t id, c;
				size_t m, to;
				uint32_t back;

				n = u32_at(eh->data + at) + 4ull;
				if (n == 4)
					continue;
				if (n < 12 || n > eh->size - at)
					return false;
				id = u32_at(eh->data + at + 4);
				if (!id)
					continue;
				c = at + 4 - id;
				rel = rel_in(eh, at + 8, at + 12);
				if (!rel || c >= at || c + 8 > eh->size || u32_at(eh->data + c) + 4ull > eh->size - c)
					return false;
				t = od_resolve(&d->global_after, eh, rel);
				t.sec = eh->obj->sym[rel->sym].shndx < eh->obj->sec_count
					    ? &eh->obj->sec[eh->obj->sym[rel->sym].shndx]
					    : NULL;
				if (!t.sec || !t.sec->included)
					continue;
				t.sec->unwinds = true;
				if (!sec)
					sec = add_sec(o, (struct outsec){.name = ".eh_frame",
									 .type = SHT_PROGBITS,
									 .flags = SHF_ALLOC,
									 .align = 8});
				for (m = 0; m < cies && cie[m].from != c; m++)
					;
				if (m == cies) {
					if (cies == sizeof(cie) / sizeof(*cie))
						return false;
					cie[cies].from = c;
					cie[cies++].to = b.len;
					copy_entry(o, sec, &b, eh, c, u32_at(eh->data + c) + 4ull);
				}
				to = b.len;
				/* the function's own copy, not the target's entry: written without resolving */
				put(o->p, &b, eh->data + at, n, 1);
				for (size_t x = 0; x < eh->rel_count; x++) {
					const struct od_rel *y = &eh->rel[x];
					const struct od_sym *ys = &eh->obj->sym[y->sym];
					const struct od_sec *in;

					if (y->off < at || y->off >= at + n)
						continue;
					if (!ys->shndx || ys->shndx >= eh->obj->sec_count)
						return false;
					in = &eh->obj->sec[ys->shndx];
					if (!in->out_sym)
						return false;
					add_rel(o, sec, to + (y->off - at), y->type, in->out_sym,
						(int64_t)(ys->value + (uint64_t)y->addend));
				}
				back = (uint32_t)(to + 4 - cie[m].to);
				memcpy(b.data + to + 4, &back, 4);
			}
		}
	if (sec) {
		o->sec[sec].data = b.data;
		o->sec[sec].size = b.len;
	}
	return true;
}

/* A thread inside code without unwind information is never proven to be outside of it: the patch could not be unloaded.
 */
static void check_unwinds(struct out *o)
{
	struct od *d = o->r->d;

	for (size_t i = 0; i < d->count; i++)
		for (size_t k = 0; k < d->after[i].sec_count; k++) {
			struct od_sec *s = &d->after[i].sec[k];

			if (s->included && s->kind == OD_CODE && s->size && !s->unwinds)
				od_refuse_sec(d, s, "compile with -fasynchronous-unwind-tables",
					      "it has no unwind information (.eh_frame)");
		}
}

static void write_file(struct out *o, json_t *meta, uint8_t **image, size_t *len)
{
	struct buf f = {NULL, 0, 0}, sh = {NULL, 0, 0}, names = {NULL, 0, 0};
	Elf64_Ehdr eh = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
			 .e_type = ET_REL,
			 .e_machine = o->machine,
			 .e_version = EV_CURRENT,
			 .e_ehsize = sizeof(Elf64_Ehdr),
			 .e_shentsize = sizeof(Elf64_Shdr)};
	size_t locals = o->local.len / sizeof(Elf64_Sym), nrela = 0, symtab, n;
	char *text = json_dumps(meta, JSON_COMPACT | JSON_PRESERVE_ORDER);
	Elf64_Shdr h;

	for (size_t i = 0; i < o->count; i++)
		nrela += o->sec[i].rel.len != 0;
	symtab = 1 + o->count + nrela + 1;
	put(o->p, &f, &eh, sizeof(eh), 1);
	put(o->p, &names, "", 1, 1);
	put(o->p, &sh, NULL, sizeof(h), 1);
#define HEADER(nm, ty, fl, off, sz, lnk, inf, al, ent)                                   \
	(h = (Elf64_Shdr){.sh_name = (uint32_t)put(o->p, &names, nm, strlen(nm) + 1, 1), \
			  .sh_type = (ty),                                               \
			  .sh_flags = (fl),                                              \
			  .sh_offset = (off),                                            \
			  .sh_size = (sz),                                               \
			  .sh_link = (uint32_t)(lnk),                                    \
			  .sh_info = (uint32_t)(inf),                                    \
			  .sh_addralign = (al),                                          \
			  .sh_entsize = (ent)},                                          \
	 put(o->p, &sh, &h, sizeof(h), 1))
	for (size_t i = 0; i < o->count; i++) {
		const struct outsec *s = &o->sec[i];
		size_t off = s->type == SHT_NOBITS ? put(o->p, &f, NULL, 0, s->align)
						   : put(o->p, &f, s->data, s->size, s->align);

		HEADER(s->name, s->type, s->flags, off, s->size, 0, 0, s->align, 0);
	}
	for (size_t i = 0; i < o->count; i++) {
		struct outsec *s = &o->sec[i];
		Elf64_Rela *ra = (Elf64_Rela *)(void *)s->rel.data;

		if (!s->rel.len)
			continue;
		for (size_t k = 0; k < s->rel.len / sizeof(*ra); k++) {
			uint64_t y = ELF64_R_SYM(ra[k].r_info);

			if (y & UNDEF_MARK)
				ra[k].r_info =
				    ELF64_R_INFO((y & ~(uint64_t)UNDEF_MARK) + locals, ELF64_R_TYPE(ra[k].r_info));
		}
		n = put(o->p, &f, ra, s->rel.len, 8);
		HEADER(od_printf(o->p, ".rela%s", s->name), SHT_RELA, SHF_INFO_LINK, n, s->rel.len, symtab, i + 1, 8,
		       sizeof(*ra));
	}
	n = put(o->p, &f, text, strlen(text), 1);
	HEADER(".klp.meta", SHT_PROGBITS, 0, n, strlen(text), 0, 0, 1, 0);
	n = put(o->p, &f, o->local.data, o->local.len, 8);
	put(o->p, &f, o->undef.data, o->undef.len, 1);
	HEADER(".symtab", SHT_SYMTAB, 0, n, o->local.len + o->undef.len, symtab + 1, locals, 8, sizeof(Elf64_Sym));
	n = put(o->p, &f, o->str.data, o->str.len, 1);
	HEADER(".strtab", SHT_STRTAB, 0, n, o->str.len, 0, 0, 1, 0);
	HEADER(".note.GNU-stack", SHT_PROGBITS, 0, n, 0, 0, 0, 1, 0);
	HEADER(".shstrtab", SHT_STRTAB, 0, 0, 0, 0, 0, 1, 0);
	n = put(o->p, &f, names.data, names.len, 1);
	((Elf64_Shdr *)(void *)sh.data)[symtab + 3].sh_offset = n;
	((Elf64_Shdr *)(void *)sh.data)[symtab + 3].sh_size = names.len;
	n = put(o->p, &f, sh.data, sh.len, 8);
	((Elf64_Ehdr *)(void *)f.data)->e_shoff = n;
	((Elf64_Ehdr *)(void *)f.data)->e_shnum = (uint16_t)(sh.len / sizeof(h));
	((Elf64_Ehdr *)(void *)f.data)->e_shstrndx = (uint16_t)(symtab + 3);
	free(text);
	*image = f.data;
	*len = f.len;
}

/* The sections of one module, as those of the metadata's object number `object`; its symbols begin at symbol_base. */
static void add_part(struct out *o, const struct klp_elf *f, unsigned object, size_t symbol_base)
{
	uint32_t *sec = od_alloc(o->p, f->section_count, sizeof(*sec)),
		 *sym = od_alloc(o->p, f->symbol_count, sizeof(*sym));

	for (size_t i = 1; i < f->section_count; i++) {
		const struct klp_elf_section *s = &f->section[i];

		if (!(s->flags & SHF_ALLOC) || s->type == SHT_NULL)
			continue;
		sec[i] =
		    (uint32_t)add_sec(o, (struct outsec){.name = object ? od_printf(o->p, ".klp.%u%s%s", object,
										    *s->name == '.' ? "" : ".", s->name)
									: od_printf(o->p, "%s", s->name),
							 .type = s->type,
							 .flags = s->flags,
							 .size = s->size,
							 .align = s->align,
							 .data = s->data}) +
		    1;
	}
	for (size_t i = 1; i < f->symbol_count; i++) {
		const struct klp_elf_symbol *s = &f->symbol[i];

		if (s->external != KLP_ELF_NO_SYMBOL)
			sym[i] = undef_symbol(o, symbol_base + s->external, s->external_name);
		else if (s->shndx >= SHN_LORESERVE || sec[s->shndx])
			sym[i] = add_local(o, *s->name ? s->name : NULL, s->type,
					   s->shndx >= SHN_LORESERVE ? s->shndx : sec[s->shndx], s->value, s->size);
	}
	for (size_t i = 1; i < f->section_count; i++) {
		const struct klp_elf_section *s = &f->section[i];

		if (s->type != SHT_RELA || !s->data || s->info >= f->section_count || !sec[s->info])
			continue;
		for (size_t k = 0; k < s->size / sizeof(Elf64_Rela); k++) {
			Elf64_Rela ra;

			memcpy(&ra, s->data + k * sizeof(ra), sizeof(ra));
			if (ELF64_R_SYM(ra.r_info) >= f->symbol_count) {
				o->failed = true;
				return;
			}
			add_rel(o, sec[s->info] - 1, ra.r_offset, (uint32_t)ELF64_R_TYPE(ra.r_info),
				sym[ELF64_R_SYM(ra.r_info)], ra.r_addend);
		}
	}
}

int om_merge(struct od_pool *pool, const struct klp_elf *part, const size_t *symbol_base, size_t count, json_t *meta,
	     uint8_t **image, size_t *len, struct klp_error *e)
{
	struct out o = {.p = pool, .machine = part[0].machine};

	put(o.p, &o.str, "", 1, 1);
	add_local(&o, NULL, STT_NOTYPE, 0, 0, 0);
	for (size_t i = 0; i < count; i++)
		add_part(&o, &part[i], (unsigned)i, symbol_base[i]);
	if (o.failed)
		return klp_fail(e, EINVAL, KLP_INTERNAL, "a relocation of a module names a symbol that does not exist");
	if (o.count > OM_MAX_SECTIONS)
		return klp_fail(e, E2BIG, KLP_LIMIT, "the module would have %zu sections", o.count);
	write_file(&o, meta, image, len);
	return 0;
}

int om_build(struct rs *r, json_t *escapes, json_t *meta, uint8_t **image, size_t *len, struct klp_error *e)
{
	struct out o = {.r = r, .p = &r->d->pool, .machine = r->d->arch->machine, .escapes = escapes};
	size_t own;

	put(o.p, &o.str, "", 1, 1);
	add_local(&o, NULL, STT_NOTYPE, 0, 0, 0);
	/* pools of wide strings are found out about while resolving, so they are marked first */
	for (size_t i = 0; i < r->d->count; i++)
		for (size_t k = 0; k < r->d->after[i].sec_count; k++) {
			struct od_sec *s = &r->d->after[i].sec[k];

			for (size_t n = 0; s->included && n < s->rel_count; n++) {
				struct od_target t = od_resolve(&r->d->global_after, s, &s->rel[n]);

				if (t.sec && t.sec->kind == OD_STRINGS && t.sec->entsize != 1)
					t.sec->included = true;
			}
		}
	/* index 0 means "none yet" for the strings, so the first section is never they */
	add_sections(&o);
	own = o.count;
	if (!own)
		return klp_fail(e, EINVAL, KLP_INTERNAL, "a module without content");
	if (own > OM_MAX_SECTIONS)
		return klp_fail(e, E2BIG, KLP_LIMIT, "the module would have %zu sections", own);
	for (size_t i = 0; i < own; i++) {
		struct od_sec *s = o.sec[i].from;

		check_alignments(&o, s);
		for (size_t k = 0; k < s->rel_count; k++)
			one_rel(&o, i, s->rel[k].off, s, &s->rel[k]);
	}
	if (!add_eh_frame(&o))
		return klp_fail(e, EINVAL, KLP_NO_UNWIND_INFO, "an .eh_frame of the patched tree cannot be read");
	check_unwinds(&o);
	if (o.strings) {
		o.sec[o.strings].data = o.text.data;
		o.sec[o.strings].size = o.text.len;
	}
	if (json_array_size(r->d->refused))
		return 0;
	if (o.failed)
		return klp_fail(e, EINVAL, KLP_INTERNAL, "a reference of the module could not be resolved");
	write_file(&o, meta, image, len);
	return 0;
}
