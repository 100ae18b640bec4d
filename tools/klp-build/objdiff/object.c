/* SPDX-License-Identifier: Apache-2.0 */
/* Reading relocatable objects and classifying their sections. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tools/klp-build/objdiff/object.h"

struct od_pool_block {
	struct od_pool_block *next;
	max_align_t data[];
};

void *od_alloc(struct od_pool *p, size_t count, size_t size)
{
	size_t bytes;
	struct od_pool_block *b;

	if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - sizeof(*b))
		errx(1, "out of memory");
	b = calloc(1, sizeof(*b) + bytes);
	if (!b)
		errx(1, "out of memory");
	b->next = p->head;
	p->head = b;
	return b->data;
}

void *od_room(struct od_pool *p, void *array, size_t count, size_t *room, size_t size)
{
	void *more;

	if (count < *room)
		return array;
	*room = *room ? 2 * *room : 64;
	more = od_alloc(p, *room, size);
	if (count)
		memcpy(more, array, count * size);
	return more;
}

char *od_printf(struct od_pool *p, const char *fmt, ...)
{
	va_list ap, again;
	char *s;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		errx(1, "cannot format a message");
	s = od_alloc(p, (size_t)n + 1, 1);
	vsnprintf(s, (size_t)n + 1, fmt, again);
	va_end(again);
	return s;
}

void od_pool_free(struct od_pool *p)
{
	while (p->head) {
		struct od_pool_block *b = p->head;

		p->head = b->next;
		free(b);
	}
}

int od_read_file(struct od_pool *p, const char *path, uint8_t **bytes, size_t *len, struct klp_error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	size_t done = 0;

	if (fd < 0)
		return klp_fail(e, errno, KLP_IO, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(Elf64_Ehdr) ||
	    st.st_size > OD_MAX_FILE) {
		close(fd);
		return klp_fail(e, EINVAL, KLP_IO, "%s is not an ELF file of a size that klp-build reads", path);
	}
	*len = (size_t)st.st_size;
	*bytes = od_alloc(p, *len, 1);
	while (done < *len) {
		ssize_t n = read(fd, *bytes + done, *len - done);

		if (n <= 0) {
			int err = n ? errno : EIO;

			close(fd);
			return klp_fail(e, err, KLP_IO, "%s: %s", path, strerror(err));
		}
		done += (size_t)n;
	}
	close(fd);
	if (memcmp(*bytes, ELFMAG, SELFMAG) || (*bytes)[EI_CLASS] != ELFCLASS64 || (*bytes)[EI_DATA] != ELFDATA2LSB)
		return klp_fail(e, EINVAL, KLP_IO, "%s is not a 64-bit little-endian ELF file", path);
	return 0;
}

static bool starts(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

/*
 * What may differ without a meaning for the running program, and why. Everything else that is allocated is compared.
 */
static const char *const ignored[] = {
    ".note.gnu.property", /* CET marks; the module's own are not used */
    ".note.GNU-stack",
    ".comment",              /* not allocated, named for completeness */
    ".gnu.build.attributes", /* annobin */
    ".llvm_addrsig",
    ".eh_frame",                    /* follows its function, extracted with it */
    "__patchable_function_entries", /* follows its function */
    ".note.stapsdt",
    ".stapsdt.base",
};

static enum od_kind kind_of(const struct od_sec *s)
{
	static const char *const init[] = {".init", ".fini", ".ctors", ".dtors", ".preinit_array", "i_STG_"};
	static const char *const refused[] = {"__llvm_prf_", "__sancov", ".gcov", "asan_globals"};
	const char *n = s->name;

	if (!(s->flags & SHF_ALLOC) || s->type == SHT_GROUP)
		return OD_IGNORE;
	for (size_t i = 0; i < sizeof(init) / sizeof(*init); i++)
		if (starts(n, init[i]))
			return OD_INIT;
	if (s->type == SHT_INIT_ARRAY || s->type == SHT_FINI_ARRAY || s->type == SHT_PREINIT_ARRAY)
		return OD_INIT;
	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		if (!strcmp(n, ignored[i]))
			return OD_IGNORE;
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		if (starts(n, refused[i]))
			return OD_UNKNOWN;
	if (starts(n, ".gcc_except_table"))
		return OD_EXCEPT;
	if (s->flags & SHF_TLS)
		return OD_TLS;
	if (s->flags & SHF_EXECINSTR)
		return starts(n, ".text") ? OD_CODE : OD_UNKNOWN;
	if (s->flags & SHF_MERGE && s->flags & SHF_STRINGS && !(s->flags & SHF_WRITE))
		return OD_STRINGS;
	if (s->flags & SHF_MERGE && s->entsize && !(s->flags & SHF_WRITE) && !s->rel_count)
		return OD_CONSTS;
	/* .s: small data, of riscv64 */
	if (starts(n, ".rodata") || starts(n, ".srodata") || starts(n, ".data.rel.ro") || starts(n, ".lrodata") ||
	    starts(n, ".gnu.linkonce.r."))
		return OD_RODATA;
	if (starts(n, ".data") || starts(n, ".bss") || starts(n, ".sdata") || starts(n, ".sbss") ||
	    starts(n, ".ldata") || starts(n, ".lbss"))
		return OD_DATA;
	return OD_UNKNOWN;
}

static int by_offset(const void *a, const void *b)
{
	const struct od_rel *x = a, *y = b;

	if (x->off != y->off)
		return x->off < y->off ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static int bad(const char *path, struct klp_error *e, const char *what)
{
	return klp_fail(e, EINVAL, KLP_IO, "%s is damaged: %s", path, what);
}

static bool in_file(size_t len, uint64_t off, uint64_t size)
{
	return off <= len && size <= len - off;
}

static const char *string_at(const uint8_t *image, size_t len, const Elf64_Shdr *str, uint64_t off)
{
	const char *s;

	if (!in_file(len, str->sh_offset, str->sh_size) || off >= str->sh_size)
		return NULL;
	s = (const char *)image + str->sh_offset + off;
	return memchr(s, 0, str->sh_size - off) ? s : NULL;
}

static bool generated_name(const char *n)
{
	return starts(n, "CSWTCH.") || starts(n, ".L") || starts(n, "switch.table.") || starts(n, "C.") ||
	       starts(n, "*.L");
}

/* Which symbol names each section, and whether it is the only one there. */
static void name_sections(struct od_obj *o)
{
	for (uint32_t i = 1; i < o->sym_count; i++) {
		const struct od_sym *y = &o->sym[i];
		struct od_sec *s;
		struct od_sym *old;

		if (y->type == STT_FILE && !o->file)
			o->file = y->name;
		if (y->shndx == SHN_UNDEF || y->shndx >= o->sec_count)
			continue;
		if (y->type != STT_FUNC && y->type != STT_OBJECT && y->type != STT_TLS && y->type != STT_GNU_IFUNC)
			continue;
		s = &o->sec[y->shndx];
		if (generated_name(y->name))
			continue;
		old = s->sym ? &o->sym[s->sym] : NULL;
		if (old && old->value != y->value)
			s->several = true;
		/* of two names for one thing the global one is kept: it is what the link sees */
		if (!old || (old->bind == STB_LOCAL && y->bind != STB_LOCAL && old->value == y->value))
			s->sym = i;
	}
	for (size_t i = 0; i < o->sec_count; i++)
		if (o->sec[i].kind == OD_RODATA && !o->sec[i].sym)
			o->sec[i].kind = OD_ANON;
}

/* The cold part of fn is a section and a symbol of its own. */
static void find_cold(struct od_pool *p, struct od_obj *o)
{
	for (size_t i = 0; i < o->sec_count; i++) {
		struct od_sec *s = &o->sec[i];
		const char *n, *c;

		if (s->kind != OD_CODE || !s->sym)
			continue;
		n = o->sym[s->sym].name;
		c = strstr(n, ".cold");
		if (!c || (c[5] && c[5] != '.'))
			continue;
		n = od_printf(p, "%.*s", (int)(c - n), n);
		for (size_t k = 0; k < o->sec_count; k++)
			if (k != i && o->sec[k].kind == OD_CODE && o->sec[k].sym &&
			    !strcmp(o->sym[o->sec[k].sym].name, n))
				s->hot = &o->sec[k];
	}
}

/*
 * In .eh_frame a function is followed by its language-specific data, if it has any. All its parts are marked: a part
 * may have the landing pads of another.
 */
static void find_landing_pads(struct od_obj *o)
{
	for (size_t i = 0; i < o->sec_count; i++) {
		const struct od_sec *eh = &o->sec[i];
		struct od_sec *code = NULL, *s;

		if (strcmp(eh->name, ".eh_frame"))
			continue;
		for (size_t k = 0; k < eh->rel_count; k++) {
			uint32_t in = o->sym[eh->rel[k].sym].shndx;

			if (!in || in >= o->sec_count)
				continue;
			s = &o->sec[in];
			if (s->kind == OD_CODE)
				code = s;
			if (s->kind != OD_EXCEPT || !code)
				continue;
			code->pads = true;
			code->partner = code->partner ? code->partner : s;
			s->partner = s->partner ? s->partner : code;
		}
	}
	for (size_t i = 0; i < o->sec_count; i++)
		if (o->sec[i].hot && o->sec[i].pads)
			o->sec[i].hot->pads = true;
	for (size_t i = 0; i < o->sec_count; i++)
		if (o->sec[i].hot && o->sec[i].hot->pads)
			o->sec[i].pads = true;
}

/*
 * The assembler resolves a reference of a local function to itself. A call may stay in the module; an address must be
 * the target's own (hazard S2), so its relocation is put back.
 */
static void restore_own_address(struct od_pool *p, struct od_sec *s)
{
	struct od_rel *more, own;
	uint64_t at = 0;

	if (s->kind != OD_CODE || !s->sym || s->hot || s->obj->sym[s->sym].bind != STB_LOCAL)
		return;
	while (s->obj->arch->modules->own_address(s, at, &own)) {
		bool known = false;

		for (size_t i = 0; i < s->rel_count; i++)
			known = known || s->rel[i].off == own.off;
		if (!known) {
			more = od_alloc(p, s->rel_count + 1, sizeof(*more));
			if (s->rel_count)
				memcpy(more, s->rel, s->rel_count * sizeof(*more));
			more[s->rel_count++] = own;
			s->rel = more;
			qsort(s->rel, s->rel_count, sizeof(*s->rel), by_offset);
		}
		at = own.off + 1;
	}
}

static void mark_named_halves(struct od_obj *o)
{
	for (size_t i = 0; i < o->sec_count; i++) {
		struct od_sec *s = &o->sec[i];

		for (size_t k = 0; k < s->rel_count; k++) {
			const struct od_sec *in = s;
			const struct od_rel *high;

			if (!od_rel_info(s, &s->rel[k]).by_label)
				continue;
			high = od_rel_meant(&in, &s->rel[k]);
			if (high && in == s)
				s->rel[high - s->rel].named = true;
		}
	}
}

int od_load_object(struct od_pool *p, const char *path, const char *unit, struct od_obj *o, struct klp_error *e)
{
	uint8_t *image;
	size_t len;
	const Elf64_Ehdr *eh;
	const Elf64_Shdr *sh, *symtab = NULL;
	const Elf64_Sym *sy = NULL;
	int rc;

	memset(o, 0, sizeof(*o));
	o->path = path;
	o->unit = unit;
	rc = od_read_file(p, path, &image, &len, e);
	if (rc)
		return rc;
	eh = (const Elf64_Ehdr *)(const void *)image;
	o->arch = od_arch_find(eh->e_machine);
	if (eh->e_type != ET_REL || !o->arch)
		return klp_fail(e, EINVAL, KLP_WRONG_ARCH, "%s is not a relocatable object for %s%s", path,
				OD_ARCH_NAMES,
				eh->e_type != ET_REL ? " (link-time optimisation: refused, build with -fno-lto)" : "");
	if (eh->e_shentsize != sizeof(*sh) || eh->e_shoff % 8 || !in_file(len, eh->e_shoff, sizeof(*sh)))
		return bad(path, e, "section headers");
	sh = (const Elf64_Shdr *)(const void *)(image + eh->e_shoff);
	o->sec_count = eh->e_shnum ? eh->e_shnum : sh->sh_size;
	if (!o->sec_count || o->sec_count > OD_MAX_SECTIONS || !in_file(len, eh->e_shoff, o->sec_count * sizeof(*sh)))
		return bad(path, e, "section headers");
	uint32_t strndx = eh->e_shstrndx == SHN_XINDEX ? sh->sh_link : eh->e_shstrndx;
	if (strndx >= o->sec_count)
		return bad(path, e, "section names");
	o->sec = od_alloc(p, o->sec_count, sizeof(*o->sec));
	const uint32_t *xindex = NULL;
	size_t xcount = 0;
	for (uint32_t i = 0; i < o->sec_count; i++) {
		struct od_sec *s = &o->sec[i];

		s->obj = o;
		s->index = i;
		s->name = string_at(image, len, &sh[strndx], sh[i].sh_name);
		if (!s->name)
			return bad(path, e, "a section's name");
		s->type = sh[i].sh_type;
		s->flags = sh[i].sh_flags;
		s->size = sh[i].sh_size;
		s->align = sh[i].sh_addralign ? sh[i].sh_addralign : 1;
		s->entsize = sh[i].sh_entsize;
		if (s->align & (s->align - 1) || s->size > OD_MAX_FILE)
			return bad(path, e, "a section's size or alignment");
		if (s->type != SHT_NOBITS && s->type != SHT_NULL) {
			if (!in_file(len, sh[i].sh_offset, s->size))
				return bad(path, e, "a section lies outside the file");
			s->data = image + sh[i].sh_offset;
		}
		if (s->type == SHT_SYMTAB)
			symtab = &sh[i];
		if (s->type == SHT_SYMTAB_SHNDX && sh[i].sh_offset % 4 == 0) {
			xindex = (const uint32_t *)(const void *)s->data;
			xcount = s->size / 4;
		}
		if (!strcmp(s->name, ".comment") && s->data && s->size && !s->data[s->size - 1])
			o->producer = (const char *)s->data + (s->data[0] == 0 && s->size > 1);
		if (starts(s->name, ".gnu.lto_"))
			return klp_fail(e, EINVAL, KLP_UNSUPPORTED, "%s was built with -flto; klp-build needs -fno-lto",
					path);
	}
	if (symtab) {
		if (symtab->sh_offset % 8 || symtab->sh_link >= o->sec_count || symtab->sh_entsize != sizeof(*sy))
			return bad(path, e, "the symbol table");
		sy = (const Elf64_Sym *)(const void *)(image + symtab->sh_offset);
		o->sym_count = symtab->sh_size / sizeof(*sy);
	}
	o->sym = od_alloc(p, o->sym_count + 1, sizeof(*o->sym));
	for (size_t i = 0; i < o->sym_count; i++) {
		struct od_sym *y = &o->sym[i];

		y->name = string_at(image, len, &sh[symtab->sh_link], sy[i].st_name);
		if (!y->name)
			return bad(path, e, "a symbol's name");
		y->value = sy[i].st_value;
		y->size = sy[i].st_size;
		y->type = ELF64_ST_TYPE(sy[i].st_info);
		y->bind = ELF64_ST_BIND(sy[i].st_info);
		y->vis = ELF64_ST_VISIBILITY(sy[i].st_other);
		y->shndx = sy[i].st_shndx;
		if (y->shndx == SHN_XINDEX) {
			if (i >= xcount)
				return bad(path, e, "a symbol's section");
			y->shndx = xindex[i];
		} else if (y->shndx >= SHN_LORESERVE) {
			if (y->shndx != SHN_ABS && y->shndx != SHN_COMMON)
				return bad(path, e, "a symbol's section");
			y->shndx |= OD_RESERVED;
		} else if (y->shndx >= o->sec_count) {
			return bad(path, e, "a symbol's section");
		}
	}
	for (size_t i = 0; i < o->sec_count; i++) {
		const Elf64_Rela *ra;
		struct od_sec *t;

		if (sh[i].sh_type == SHT_REL && sh[i].sh_size)
			return bad(path, e, "relocations without addends");
		if (sh[i].sh_type != SHT_RELA)
			continue;
		if (sh[i].sh_info >= o->sec_count || sh[i].sh_offset % 8 || sh[i].sh_entsize != sizeof(*ra))
			return bad(path, e, "a relocation section");
		t = &o->sec[sh[i].sh_info];
		if (t->rel_count)
			return bad(path, e, "two relocation sections for one section");
		ra = (const Elf64_Rela *)(const void *)(image + sh[i].sh_offset);
		t->rel_count = sh[i].sh_size / sizeof(*ra);
		t->rel = od_alloc(p, t->rel_count, sizeof(*t->rel));
		for (size_t k = 0; k < t->rel_count; k++) {
			struct od_rel *r = &t->rel[k];

			r->off = ra[k].r_offset;
			r->type = (uint32_t)ELF64_R_TYPE(ra[k].r_info);
			r->sym = (uint32_t)ELF64_R_SYM(ra[k].r_info);
			r->addend = ra[k].r_addend;
			r->order = k;
			if (r->sym >= o->sym_count || r->off >= t->size)
				return bad(path, e, "a relocation");
			if (t->flags & SHF_ALLOC && t->size - r->off < o->arch->rel(r->type).width)
				return bad(path, e, "a relocation beyond its section");
		}
		qsort(t->rel, t->rel_count, sizeof(*t->rel), by_offset);
	}
	for (size_t i = 0; i < o->sec_count; i++)
		o->sec[i].kind = kind_of(&o->sec[i]);
	name_sections(o);
	find_cold(p, o);
	find_landing_pads(o);
	for (size_t i = 0; i < o->sec_count; i++)
		restore_own_address(p, &o->sec[i]);
	mark_named_halves(o);
	for (size_t i = 0; i < o->sym_count; i++)
		if (starts(o->sym[i].name, "__gxx_personality"))
			o->cplusplus = true;
	for (size_t i = 0; i < o->sec_count; i++) {
		const struct od_sec *s = &o->sec[i];

		for (size_t k = 0; s->kind == OD_INIT && k < s->rel_count; k++) {
			uint32_t in = o->sym[s->rel[k].sym].shndx;

			if (in && in < o->sec_count)
				o->sec[in].constructor = true;
		}
	}
	return 0;
}

bool od_has_clone_suffix(const char *n)
{
	return strstr(n, ".isra.") || strstr(n, ".constprop.") || strstr(n, ".part.");
}

const char *od_base_name(struct od_pool *p, const char *name)
{
	char *s = od_printf(p, "%s", name), *w = s;

	for (const char *c = s; *c;) {
		const char *d = c + 1;

		if (*c == '.' && *d >= '0' && *d <= '9' && c != s) {
			while (*d >= '0' && *d <= '9')
				d++;
			if (!*d || *d == '.') {
				c = d;
				continue;
			}
		}
		*w++ = *c++;
	}
	*w = 0;
	return s;
}

const char *od_sec_label(const struct od_sec *s)
{
	return s->sym ? s->obj->sym[s->sym].name : s->name;
}

struct od_rel_info od_rel_info(const struct od_sec *s, const struct od_rel *r)
{
	return s->obj->arch->rel(r->type);
}

bool od_rel_is_got(const struct od_sec *s, const struct od_rel *r)
{
	return od_rel_info(s, r).class == OD_REL_GOT;
}

enum od_use od_rel_use(const struct od_sec *s, const struct od_rel *r)
{
	return s->obj->arch->modules->use(s, r);
}

size_t od_rel_from(const struct od_sec *s, uint64_t off)
{
	size_t low = 0, high = s->rel_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->rel[mid].off < off)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Where a named label leads to: the one relocation of a high half at that place. */
static const struct od_rel *high_half_at(const struct od_sec *s, uint64_t off)
{
	const struct od_rel *high = NULL;

	for (size_t i = od_rel_from(s, off); i < s->rel_count && s->rel[i].off == off; i++) {
		if (od_rel_info(s, &s->rel[i]).half != OD_HALF_HIGH)
			continue;
		if (high)
			return NULL;
		high = &s->rel[i];
	}
	return high;
}

const struct od_rel *od_rel_meant(const struct od_sec **s, const struct od_rel *r)
{
	const struct od_obj *o = (*s)->obj;
	const struct od_sym *y = &o->sym[r->sym];
	const struct od_rel *high;

	if (!od_rel_info(*s, r).by_label)
		return r;
	if (!y->shndx || y->shndx >= o->sec_count)
		return NULL;
	high = high_half_at(&o->sec[y->shndx], y->value);
	if (high)
		*s = &o->sec[y->shndx];
	return high;
}

bool od_only_loads(const struct od_sec *s, const struct od_rel *r)
{
	return s->obj->arch->only_loads(s, r);
}

static const struct od_rel *half_in(const struct od_sec *s, const struct od_rel *r, const struct od_rel_info *i,
				    bool exact)
{
	for (size_t k = 0; k < s->rel_count; k++) {
		const struct od_rel *o = &s->rel[k];
		struct od_rel_info other;

		if (o->sym != r->sym || (exact && o->addend != r->addend))
			continue;
		other = od_rel_info(s, o);
		if (other.class == i->class && other.half && other.half != i->half && !other.by_label && !o->named)
			return o;
	}
	return NULL;
}

/* A low half of the section that names the high half. */
static const struct od_rel *naming_half(const struct od_sec *s, const struct od_rel *high)
{
	for (size_t k = 0; k < s->rel_count; k++) {
		const struct od_sec *in = s;

		if (od_rel_info(s, &s->rel[k]).by_label && od_rel_meant(&in, &s->rel[k]) == high)
			return &s->rel[k];
	}
	return NULL;
}

const struct od_rel *od_other_half(const struct od_sec *s, const struct od_rel *r, bool exact, const struct od_sec **in)
{
	struct od_rel_info i = od_rel_info(s, r);
	const struct od_sec *f = s->hot ? s->hot : s;
	const struct od_rel *o;

	*in = s;
	if (i.by_label)
		return od_rel_meant(in, r);
	if (r->named)
		return naming_half(s, r);
	o = half_in(s, r, &i, exact);

	*in = s;
	for (size_t k = 0; !o && s->kind == OD_CODE && k < s->obj->sec_count; k++) {
		*in = &s->obj->sec[k];
		if (*in != s && (*in)->kind == OD_CODE && (*in == f || (*in)->hot == f))
			o = half_in(*in, r, &i, exact);
	}
	return o;
}

int64_t od_rel_bias(const struct od_sec *s, const struct od_rel *r)
{
	return s->kind == OD_CODE ? od_rel_info(s, r).bias : 0;
}
