/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/scope.h"

#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KLP_HASH_MAX (1u << 24) /* buckets or bloom words of one table */
#define KLP_SCOPE_TRIES 200u    /* to read a list that changes */
#define KLP_SCOPE_PAUSE_NS 500000

static int klp_scope_bad(const struct klp_dso *d, const char *what, struct klp_error *e)
{
	return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "%s of %s makes no sense", what, d->o->path);
}

/* All of [addr, addr + len) must be of this object: its tables never lie elsewhere. */
static int klp_dso_read(const struct klp_scope *s, const struct klp_dso *d, uint64_t addr, void *buf, size_t len,
			struct klp_error *e)
{
	if (addr < d->o->start || addr >= d->o->end || len > d->o->end - addr)
		return klp_scope_bad(d, "a dynamic table", e);
	return klp_process_read(s->p, addr, buf, len, e);
}

/* Text that need not have len bytes behind it. */
static int klp_read_text(const struct klp_scope *s, uint64_t addr, uint64_t end, char *buf, size_t len,
			 struct klp_error *e)
{
	size_t have = 0;

	while (have < len && addr + have < end) {
		/* Never across a page in one read: the next one may not be there. */
		size_t n = 4096 - (size_t)((addr + have) & 4095);
		int rc;

		if (n > len - have)
			n = len - have;
		if (n > end - (addr + have))
			n = (size_t)(end - (addr + have));
		rc = klp_process_read(s->p, addr + have, buf + have, n, e);
		if (rc)
			return rc;
		if (memchr(buf + have, 0, n))
			return 0;
		have += n;
	}
	return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "a name in the target has no end");
}

static int klp_dso_text(const struct klp_scope *s, const struct klp_dso *d, uint64_t offset, char *buf, size_t len,
			struct klp_error *e)
{
	if (!d->strtab || offset >= d->strsz)
		return klp_scope_bad(d, "a name", e);
	return klp_read_text(s, d->strtab + offset, d->strtab + d->strsz, buf, len, e);
}

/* glibc relocates most pointers of a dynamic section in place, musl and the vDSO none: whichever lies in the object is
 * meant. */
static uint64_t klp_dso_pointer(const struct klp_object *o, uint64_t value)
{
	if (value >= o->start && value < o->end)
		return value;
	value += o->bias;
	return value >= o->start && value < o->end ? value : 0;
}

static int klp_dso_open(const struct klp_scope *s, struct klp_dso *d, const struct klp_object *o, struct klp_error *e)
{
	uint64_t relasz = 0, pltrelsz = 0;
	Elf64_Dyn dyn;

	memset(d, 0, sizeof(*d));
	d->o = o;
	for (size_t i = 0; o->dynamic && i < KLP_SCOPE_MAX_TAGS; i++) {
		int rc = klp_dso_read(s, d, o->dynamic + i * sizeof(dyn), &dyn, sizeof(dyn), e);

		if (rc)
			return rc;
		if (dyn.d_tag == DT_NULL)
			break;
		switch (dyn.d_tag) {
		case DT_SYMTAB:
			d->symtab = klp_dso_pointer(o, dyn.d_un.d_ptr);
			break;
		case DT_STRTAB:
			d->strtab = klp_dso_pointer(o, dyn.d_un.d_ptr);
			break;
		case DT_STRSZ:
			d->strsz = dyn.d_un.d_val;
			break;
		case DT_HASH:
			d->hash = klp_dso_pointer(o, dyn.d_un.d_ptr);
			break;
		case DT_GNU_HASH:
			d->gnu_hash = klp_dso_pointer(o, dyn.d_un.d_ptr);
			break;
		case DT_VERSYM:
			d->versym = klp_dso_pointer(o, dyn.d_un.d_ptr);
			break;
		case DT_VERDEF:
			d->verdef = klp_dso_pointer(o, dyn.d_un.d_ptr);
			break;
		case DT_VERDEFNUM:
			d->verdef_count = dyn.d_un.d_val;
			break;
		case DT_VERNEED:
			d->verneed = klp_dso_pointer(o, dyn.d_un.d_ptr);
			break;
		case DT_VERNEEDNUM:
			d->verneed_count = dyn.d_un.d_val;
			break;
		case DT_RELA:
			d->rela.addr = klp_dso_pointer(o, dyn.d_un.d_ptr);
			break;
		case DT_RELASZ:
			relasz = dyn.d_un.d_val;
			break;
		case DT_JMPREL:
			d->jmprel.addr = klp_dso_pointer(o, dyn.d_un.d_ptr);
			break;
		case DT_PLTRELSZ:
			pltrelsz = dyn.d_un.d_val;
			break;
		case DT_DEBUG:
			d->debug = dyn.d_un.d_ptr;
			break;
		case DT_SONAME:
			d->soname = dyn.d_un.d_val;
			break;
		case DT_NEEDED:
			if (d->needed_count == KLP_SCOPE_MAX_NEEDED)
				return klp_scope_bad(d, "the number of needed libraries", e);
			d->needed[d->needed_count++] = dyn.d_un.d_val;
			break;
		default:
			break;
		}
	}
	if (d->strtab && d->strsz > o->end - d->strtab)
		d->strsz = o->end - d->strtab;
	d->rela.size = d->rela.addr ? relasz : 0;
	d->jmprel.size = d->jmprel.addr ? pltrelsz : 0;
	return 0;
}

static int klp_scope_add(struct klp_scope *s, const struct klp_object *o, struct klp_error *e)
{
	int rc;

	for (size_t i = 0; i < s->count; i++)
		if (s->dso[i].o == o)
			return 0;
	rc = klp_dso_open(s, &s->dso[s->count], o, e);
	if (!rc)
		s->count++;
	return rc;
}

/* The list that r_debug leads to, and its state. */
struct klp_link_list {
	struct r_debug debug;
	struct link_map *node; /* KLP_SCOPE_MAX_OBJECTS */
	size_t count;
};

static int klp_link_list_read(const struct klp_scope *s, struct klp_link_list *l, struct klp_error *e)
{
	uint64_t at;
	int rc = klp_process_read(s->p, s->dso[0].debug, &l->debug, sizeof(l->debug), e);

	if (rc)
		return rc;
	at = (uint64_t)(uintptr_t)l->debug.r_map;
	for (l->count = 0; at; l->count++) {
		if (l->count == KLP_SCOPE_MAX_OBJECTS)
			return klp_fail(e, ELOOP, KLP_TARGET_MEMORY, "the target's link map has no end");
		rc = klp_process_read(s->p, at, &l->node[l->count], sizeof(*l->node), e);
		if (rc)
			return rc;
		at = (uint64_t)(uintptr_t)l->node[l->count].l_next;
	}
	return 0;
}

/* Of a list of that length that is to be read twice: -EAGAIN if the second time is not like the first. */
static int klp_link_list_stands(const struct klp_scope *s, const struct klp_link_list *first, struct klp_error *e)
{
	struct r_debug debug;
	struct link_map map;
	int rc = 0;

	for (size_t i = 0; i < first->count && !rc; i++) {
		const struct link_map *before = i ? first->node[i - 1].l_next : first->debug.r_map;

		rc = klp_process_read(s->p, (uint64_t)(uintptr_t)before, &map, sizeof(map), e);
		if (!rc && memcmp(&map, &first->node[i], sizeof(map)))
			rc = -EAGAIN;
	}
	if (!rc)
		rc = klp_process_read(s->p, s->dso[0].debug, &debug, sizeof(debug), e);
	if (!rc && (memcmp(&debug, &first->debug, sizeof(debug)) || debug.r_state != RT_CONSISTENT))
		rc = -EAGAIN;
	return rc == -EAGAIN ? klp_fail(e, EAGAIN, KLP_BUSY, "the target's link map changes") : rc;
}

/*
 * The objects of r_debug's list, which DT_DEBUG of the executable names: as it was at one moment, for a thread of the
 * target may be loading or unloading a library. Read beside that, it may end at a node that has been freed.
 */
static int klp_scope_link_map(struct klp_scope *s, struct klp_error *e)
{
	struct klp_link_list list = {.node = calloc(KLP_SCOPE_MAX_OBJECTS, sizeof(*list.node))};
	int rc;

	if (!list.node)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the target's link map");
	rc = klp_link_list_read(s, &list, e);
	if (!rc)
		rc = klp_link_list_stands(s, &list, e);
	for (size_t n = 0; n < list.count && !rc; n++)
		for (size_t i = 0; i < s->p->object_count && !rc; i++) {
			const struct klp_object *o = &s->p->object[i];

			if (o->dynamic && o->dynamic == (uint64_t)(uintptr_t)list.node[n].l_ld && !o->vdso)
				rc = klp_scope_add(s, o, e);
		}
	free(list.node);
	return rc;
}

static const char *klp_base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool klp_dso_is_called(const struct klp_scope *s, const struct klp_dso *d, const char *name)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	char soname[KLP_SCOPE_MAX_SYMBOL];

	if (d->soname && !klp_dso_text(s, d, d->soname, soname, sizeof(soname), &ignored) &&
	    !strcmp(soname, klp_base_name(name)))
		return true;
	return !strcmp(klp_base_name(d->o->path), klp_base_name(name));
}

/*
 * Which objects came with the program: the list holds them first, in the order in which names are looked up (the
 * executable, preloaded libraries, then what they need, breadth first); what dlopen adds comes behind. So everything up
 * to the last one that the executable or another such object needs.
 */
static int klp_scope_startup(struct klp_scope *s, struct klp_error *e)
{
	size_t last = 0;

	for (size_t i = 0; i <= last && i < s->count; i++) {
		struct klp_dso *d = &s->dso[i];

		d->startup = true;
		for (size_t n = 0; n < d->needed_count; n++) {
			char name[KLP_SCOPE_MAX_SYMBOL];
			int rc = klp_dso_text(s, d, d->needed[n], name, sizeof(name), e);

			if (rc)
				return rc;
			for (size_t k = last + 1; k < s->count; k++)
				if (klp_dso_is_called(s, &s->dso[k], name)) {
					last = k;
					break;
				}
		}
	}
	return 0;
}

static int klp_scope_try(const struct klp_process *p, struct klp_scope *s, struct klp_error *e)
{
	const struct klp_object *main_object = NULL;
	int rc;

	memset(s, 0, sizeof(*s));
	s->p = p;
	for (size_t i = 0; i < p->object_count; i++)
		if (p->object[i].main)
			main_object = &p->object[i];
	if (!main_object)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "the main executable of process %d is not known", p->pid);
	s->dso = calloc(p->object_count, sizeof(*s->dso));
	if (!s->dso)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for %zu objects", p->object_count);
	rc = klp_scope_add(s, main_object, e);
	if (!rc && s->dso[0].debug) /* 0: a static program */
		rc = klp_scope_link_map(s, e);
	if (!rc)
		rc = klp_scope_startup(s, e);
	if (rc)
		klp_scope_close(s);
	return rc;
}

/* What was in the list a moment ago may be unmapped now. */
static bool klp_scope_moves(int rc)
{
	return rc == -EAGAIN || rc == -EFAULT || rc == -ELOOP;
}

int klp_scope_open(const struct klp_process *p, struct klp_scope *s, struct klp_error *e)
{
	const struct timespec pause = {0, KLP_SCOPE_PAUSE_NS};
	struct klp_error why = KLP_ERROR_INIT;
	int rc = klp_scope_try(p, s, &why);

	for (unsigned n = 0; n < KLP_SCOPE_TRIES && klp_scope_moves(rc); n++) {
		nanosleep(&pause, NULL);
		rc = klp_scope_try(p, s, &why);
	}
	if (klp_scope_moves(rc))
		return klp_fail(e, EBUSY, KLP_BUSY, "process %d loads or unloads libraries all the time: %s", p->pid,
				why.text);
	if (rc)
		*e = why;
	return rc;
}

void klp_scope_close(struct klp_scope *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free(s->dso[i].rela.rela);
		free(s->dso[i].jmprel.rela);
	}
	free(s->dso);
	memset(s, 0, sizeof(*s));
}

struct klp_dso *klp_scope_dso(struct klp_scope *s, const struct klp_object *o)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->dso[i].o->start == o->start)
			return &s->dso[i];
	return NULL;
}

int klp_dso_symbol(const struct klp_scope *s, const struct klp_dso *d, size_t index, Elf64_Sym *sym,
		   char name[KLP_SCOPE_MAX_SYMBOL], struct klp_error *e)
{
	int rc;

	if (!d->symtab || index > (d->o->end - d->symtab) / sizeof(*sym))
		return klp_scope_bad(d, "a symbol index", e);
	rc = klp_dso_read(s, d, d->symtab + index * sizeof(*sym), sym, sizeof(*sym), e);
	return rc ? rc : klp_dso_text(s, d, sym->st_name, name, KLP_SCOPE_MAX_SYMBOL, e);
}

/* The name of version `ndx` as the object defines or needs it, "" for none. */
static int klp_dso_version_text(const struct klp_scope *s, const struct klp_dso *d, uint16_t ndx,
				char name[KLP_SCOPE_MAX_SYMBOL], struct klp_error *e)
{
	uint64_t at = d->verdef;
	int rc;

	*name = '\0';
	if (ndx <= VER_NDX_LOCAL)
		return 0;
	for (uint64_t i = 0; at && i < d->verdef_count && i < KLP_SCOPE_MAX_VERSIONS; i++) {
		Elf64_Verdaux aux;
		Elf64_Verdef v;

		rc = klp_dso_read(s, d, at, &v, sizeof(v), e);
		if (rc)
			return rc;
		/* The base version is the object's own name, which no reference asks for. */
		if (v.vd_ndx == ndx && (v.vd_flags & VER_FLG_BASE))
			return 0;
		if (v.vd_ndx == ndx) {
			rc = klp_dso_read(s, d, at + v.vd_aux, &aux, sizeof(aux), e);
			return rc ? rc : klp_dso_text(s, d, aux.vda_name, name, KLP_SCOPE_MAX_SYMBOL, e);
		}
		if (!v.vd_next)
			break;
		at += v.vd_next;
	}
	at = d->verneed;
	for (uint64_t i = 0; at && i < d->verneed_count && i < KLP_SCOPE_MAX_VERSIONS; i++) {
		uint64_t aux_at;
		Elf64_Verneed v;

		rc = klp_dso_read(s, d, at, &v, sizeof(v), e);
		if (rc)
			return rc;
		aux_at = at + v.vn_aux;
		for (unsigned k = 0; k < v.vn_cnt; k++) {
			Elf64_Vernaux aux;

			rc = klp_dso_read(s, d, aux_at, &aux, sizeof(aux), e);
			if (rc)
				return rc;
			if ((aux.vna_other & 0x7fff) == ndx)
				return klp_dso_text(s, d, aux.vna_name, name, KLP_SCOPE_MAX_SYMBOL, e);
			if (!aux.vna_next)
				break;
			aux_at += aux.vna_next;
		}
		if (!v.vn_next)
			break;
		at += v.vn_next;
	}
	return 0;
}

static int klp_dso_version_index(const struct klp_scope *s, const struct klp_dso *d, size_t index, uint16_t *ndx,
				 struct klp_error *e)
{
	if (index > (d->o->end - d->versym) / sizeof(*ndx))
		return klp_scope_bad(d, "a symbol index", e);
	return klp_dso_read(s, d, d->versym + index * sizeof(*ndx), ndx, sizeof(*ndx), e);
}

int klp_dso_version_name(const struct klp_scope *s, const struct klp_dso *d, size_t index,
			 char name[KLP_SCOPE_MAX_SYMBOL], struct klp_error *e)
{
	uint16_t ndx;
	int rc;

	*name = '\0';
	if (!d->versym)
		return 0;
	rc = klp_dso_version_index(s, d, index, &ndx, e);
	return rc ? rc : klp_dso_version_text(s, d, ndx & 0x7fff, name, e);
}

/* 1: the symbol's version is the wanted one. */
static int klp_dso_version(const struct klp_scope *s, const struct klp_dso *d, size_t index, const char *version,
			   struct klp_error *e)
{
	char name[KLP_SCOPE_MAX_SYMBOL];
	uint16_t ndx;
	int rc;

	if (!d->versym)
		return 1; /* an object without versions answers to all */
	rc = klp_dso_version_index(s, d, index, &ndx, e);
	if (rc)
		return rc;
	if (!version || !*version)
		return !(ndx & 0x8000); /* hidden: not the default version */
	if (!d->verdef)
		return 1; /* it needs versions but defines none */
	rc = klp_dso_version_text(s, d, ndx & 0x7fff, name, e);
	return rc ? rc : !strcmp(name, version);
}

/* 1: this symbol answers. */
static int klp_dso_match(const struct klp_scope *s, struct klp_dso *d, size_t index, const char *name,
			 const char *version, bool for_address, struct klp_definition *def, struct klp_error *e)
{
	char have[KLP_SCOPE_MAX_SYMBOL];
	int rc = klp_dso_symbol(s, d, index, &def->sym, have, e);

	if (rc)
		return rc;
	if (strcmp(have, name) || ELF64_ST_BIND(def->sym.st_info) == STB_LOCAL)
		return 0;
	def->plt = def->sym.st_shndx == SHN_UNDEF;
	/* An undefined function with a value: the executable's PLT entry is its address for the whole process. */
	if (def->plt && (!for_address || !def->sym.st_value || ELF64_ST_TYPE(def->sym.st_info) != STT_FUNC))
		return 0;
	if (!def->sym.st_value && def->sym.st_shndx != SHN_ABS && ELF64_ST_TYPE(def->sym.st_info) != STT_TLS)
		return 0;
	if (ELF64_ST_VISIBILITY(def->sym.st_other) == STV_HIDDEN ||
	    ELF64_ST_VISIBILITY(def->sym.st_other) == STV_INTERNAL)
		return 0;
	if (!def->plt) {
		rc = klp_dso_version(s, d, index, version, e);
		if (rc <= 0)
			return rc;
	}
	def->dso = d;
	def->index = index;
	def->value = def->sym.st_value;
	if (def->sym.st_shndx != SHN_ABS && ELF64_ST_TYPE(def->sym.st_info) != STT_TLS) {
		def->value += d->o->bias;
		if (def->value < d->o->start || def->value > d->o->end)
			return klp_scope_bad(d, "the value of a symbol", e);
	}
	return 1;
}

static int klp_dso_lookup_gnu(const struct klp_scope *s, struct klp_dso *d, const char *name, const char *version,
			      bool for_address, struct klp_definition *def, struct klp_error *e)
{
	struct {
		uint32_t buckets, first, bloom_words, bloom_shift;
	} h;
	uint32_t hash = 5381, index, link;
	uint64_t buckets, chains;
	int rc = klp_dso_read(s, d, d->gnu_hash, &h, sizeof(h), e);

	if (rc)
		return rc;
	for (const char *c = name; *c; c++)
		hash = hash * 33 + (uint8_t)*c;
	if (!h.buckets || h.buckets > KLP_HASH_MAX || h.bloom_words > KLP_HASH_MAX)
		return klp_scope_bad(d, "the hash table", e);
	buckets = d->gnu_hash + sizeof(h) + (uint64_t)h.bloom_words * 8;
	chains = buckets + (uint64_t)h.buckets * 4;
	rc = klp_dso_read(s, d, buckets + (uint64_t)(hash % h.buckets) * 4, &index, sizeof(index), e);
	if (rc || !index)
		return rc;
	if (index < h.first)
		return klp_scope_bad(d, "the hash table", e);
	for (size_t n = 0; n < KLP_SCOPE_MAX_CHAIN; n++, index++) {
		rc = klp_dso_read(s, d, chains + (uint64_t)(index - h.first) * 4, &link, sizeof(link), e);
		if (!rc && (link | 1) == (hash | 1))
			rc = klp_dso_match(s, d, index, name, version, for_address, def, e);
		if (rc || (link & 1))
			return rc;
	}
	return klp_scope_bad(d, "the hash table", e);
}

static int klp_dso_lookup_sysv(const struct klp_scope *s, struct klp_dso *d, const char *name, const char *version,
			       bool for_address, struct klp_definition *def, struct klp_error *e)
{
	uint32_t hash = 0, index;
	struct {
		uint32_t buckets, chains;
	} h;
	uint64_t at;
	int rc = klp_dso_read(s, d, d->hash, &h, sizeof(h), e);

	if (rc)
		return rc;
	if (!h.buckets || h.buckets > KLP_HASH_MAX || h.chains > KLP_HASH_MAX)
		return klp_scope_bad(d, "the hash table", e);
	for (const char *c = name; *c; c++) {
		hash = (hash << 4) + (uint8_t)*c;
		hash ^= (hash >> 24) & 0xf0;
		hash &= 0x0fffffff;
	}
	at = d->hash + sizeof(h) + (uint64_t)(hash % h.buckets) * 4;
	for (size_t n = 0; n < KLP_SCOPE_MAX_CHAIN; n++) {
		rc = klp_dso_read(s, d, at, &index, sizeof(index), e);
		if (rc || !index)
			return rc;
		if (index >= h.chains)
			break;
		rc = klp_dso_match(s, d, index, name, version, for_address, def, e);
		if (rc)
			return rc;
		at = d->hash + sizeof(h) + ((uint64_t)h.buckets + index) * 4;
	}
	return klp_scope_bad(d, "the hash table", e);
}

int klp_dso_lookup(const struct klp_scope *s, struct klp_dso *d, const char *name, const char *version,
		   bool for_address, struct klp_definition *def, struct klp_error *e)
{
	if (!d->symtab || !d->strtab)
		return 0;
	/* Both tables list an executable's canonical PLT entries too: the dynamic linker must find them. */
	if (d->gnu_hash)
		return klp_dso_lookup_gnu(s, d, name, version, for_address, def, e);
	return d->hash ? klp_dso_lookup_sysv(s, d, name, version, for_address, def, e) : 0;
}

int klp_scope_lookup(struct klp_scope *s, const struct klp_dso *from, const char *name, const char *version,
		     bool for_address, struct klp_definition *def, struct klp_error *e)
{
	struct klp_definition other;
	int rc, found = 0;

	for (size_t i = 0; i < s->count && s->dso[i].startup; i++) {
		rc = klp_dso_lookup(s, &s->dso[i], name, version, for_address, def, e);
		if (rc)
			return rc;
	}
	/* Behind them, who sees whom depends on how each was opened: only a single definition is beyond doubt. */
	for (size_t i = 0; i < s->count; i++) {
		if (s->dso[i].startup)
			continue;
		rc = klp_dso_lookup(s, &s->dso[i], name, version, for_address, &other, e);
		if (rc < 0)
			return rc;
		if (rc && found)
			return klp_fail(e, ENOTUNIQ, KLP_AMBIGUOUS,
					"%s, wanted by %s, is defined by %s and %s, both opened at run time", name,
					from->o->path, def->dso->o->path, other.dso->o->path);
		if (rc) {
			*def = other;
			found = 1;
		}
	}
	return found;
}

int klp_dso_read_rela(const struct klp_scope *s, struct klp_dso *d, struct klp_rela_table *t, struct klp_error *e)
{
	int rc;

	if (t->read)
		return 0;
	if (t->size % sizeof(*t->rela) || t->size / sizeof(*t->rela) > KLP_SCOPE_MAX_RELA ||
	    (t->size && t->size > d->o->end - t->addr))
		return klp_scope_bad(d, "a relocation table", e);
	t->count = (size_t)(t->size / sizeof(*t->rela));
	if (t->count) {
		t->rela = malloc((size_t)t->size);
		if (!t->rela)
			return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for %zu relocations", t->count);
		rc = klp_dso_read(s, d, t->addr, t->rela, (size_t)t->size, e);
		if (rc)
			return rc;
	}
	t->read = true;
	return 0;
}

int klp_dso_slot(const struct klp_scope *s, struct klp_dso *d, uint64_t slot, Elf64_Rela *rela, size_t *index,
		 struct klp_error *e)
{
	struct klp_rela_table *table[2] = {&d->jmprel, &d->rela};

	for (size_t k = 0; k < 2; k++) {
		int rc = klp_dso_read_rela(s, d, table[k], e);

		if (rc)
			return rc;
		for (size_t i = 0; i < table[k]->count; i++)
			if (table[k]->rela[i].r_offset == slot) {
				*rela = table[k]->rela[i];
				*index = k == 0 ? i : SIZE_MAX;
				return 1;
			}
	}
	return 0;
}
