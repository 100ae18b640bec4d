/* SPDX-License-Identifier: Apache-2.0 */
/* Following references of the module into the running file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "klp/runtime/shadow.h"
#include "tools/klp-build/objdiff/resolve.h"

static bool boring(const struct lk_sec *s)
{
	return !(s->flags & SHF_ALLOC) || s->type == SHT_NOTE;
}

static bool layouts_equal(const struct lk *a, const struct lk *b)
{
	size_t k = 0;

	for (size_t i = 0; i < a->sec_count; i++) {
		if (boring(&a->sec[i]))
			continue;
		while (k < b->sec_count && boring(&b->sec[k]))
			k++;
		if (k == b->sec_count || strcmp(a->sec[i].name, b->sec[k].name) || a->sec[i].addr != b->sec[k].addr ||
		    a->sec[i].size != b->sec[k].size || a->sec[i].type != b->sec[k].type)
			return false;
		k++;
	}
	while (k < b->sec_count && boring(&b->sec[k]))
		k++;
	return k == b->sec_count;
}

/* The first address at which the contents differ; false if they are equal. */
static bool first_difference(const struct lk *a, const struct lk *b, uint64_t *addr)
{
	for (size_t i = 0; i < a->sec_count; i++) {
		const struct lk_sec *s = &a->sec[i], *t;

		if (boring(s) || s->type == SHT_NOBITS)
			continue;
		t = NULL;
		for (size_t k = 0; k < b->sec_count && !t; k++)
			if (!boring(&b->sec[k]) && b->sec[k].addr == s->addr && b->sec[k].size == s->size &&
			    b->sec[k].type == s->type && !strcmp(b->sec[k].name, s->name))
				t = &b->sec[k];
		for (uint64_t n = 0; n < s->size; n++) {
			if (t && a->image[s->off + n] == b->image[t->off + n])
				continue;
			*addr = s->addr + n;
			return true;
		}
	}
	return false;
}

static void refuse_difference(struct rs *r, uint64_t addr)
{
	const struct lk_sym *best = NULL;
	const struct lk_sec *s = lk_sec_at(&r->original, addr);

	for (size_t i = 1; i < r->original.sym_count; i++) {
		const struct lk_sym *y = &r->original.sym[i];

		if ((y->type == STT_FUNC || y->type == STT_OBJECT) && y->shndx && addr >= y->value &&
		    addr - y->value < y->size)
			best = y;
	}
	od_refuse(r->d, best ? best->name : "", s ? s->name : "", r->running.path,
		  "rebuild exactly what runs, or give its debug file (--debug) if only the layout differs",
		  "the running file differs from the rebuilt original in %s at offset %llu",
		  best ? best->name
		  : s  ? s->name
		       : "a section",
		  (unsigned long long)(addr - (best ? best->value
					       : s  ? s->addr
						    : 0)));
}

/* What stands for the rebuilt programs if there are none: the running file, with all its symbols. */
static void start_partial(struct rs *r)
{
	r->same_layout = true;
	r->original = r->running;
	if (r->names) {
		r->original.sym = r->names->sym;
		r->original.sym_count = r->names->sym_count;
		return;
	}
	od_refuse(r->d, "", ".symtab", r->running.path, "give its debug file (--debug)",
		  "the running file has no symbols, so nothing says which of its functions is which");
}

int rs_start(struct rs *r, struct od *d, const struct klp_objdiff_input *in, struct klp_error *e)
{
	const struct lk *files[] = {&r->original, &r->patched, &r->running, &r->debug};
	uint64_t addr = 0;
	int rc;

	memset(r, 0, sizeof(*r));
	r->d = d;
	r->partial = !in->original_linked;
	rc = r->partial ? 0 : lk_load(&d->pool, in->original_linked, false, &r->original, e);
	if (!rc && !r->partial)
		rc = lk_load(&d->pool, in->patched_linked, false, &r->patched, e);
	if (!rc)
		rc = lk_load(&d->pool, in->running, false, &r->running, e);
	if (!rc && in->debug) {
		rc = lk_load(&d->pool, in->debug, true, &r->debug, e);
		r->have_debug = !rc;
	}
	if (rc)
		return rc;
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		if (d->arch && files[i]->arch && files[i]->arch != d->arch)
			return klp_fail(e, EINVAL, KLP_WRONG_ARCH, "%s is for %s, the objects of the build are for %s",
					files[i]->path, files[i]->arch->name, d->arch->name);
	r->symbols = json_array();
	if (!r->running.build_id_len)
		od_refuse(d, "", ".note.gnu.build-id", in->running, "link with -Wl,--build-id",
			  "the running file has no build-id");
	if (!r->partial && (!r->original.sym_count || !r->patched.sym_count))
		od_refuse(d, "", ".symtab", r->original.sym_count ? in->patched_linked : in->original_linked,
			  "do not strip in the build tree", "the linked program of the build tree has no symbol table");
	if (r->have_debug && (r->debug.build_id_len != r->running.build_id_len ||
			      memcmp(r->debug.build_id, r->running.build_id, r->running.build_id_len)))
		od_refuse(d, "", ".note.gnu.build-id", in->debug, "give the debug file of exactly this build",
			  "the debug file has another build-id than the running file");
	if (r->original.producer && r->running.producer && strcmp(r->original.producer, r->running.producer))
		od_refuse(d, "", ".comment", in->running, "build with the compiler that built the running file",
			  "the running file was built by \"%s\", this build by \"%s\"", r->running.producer,
			  r->original.producer);
	if (!r->running.data_pointer)
		r->running.data_pointer = r->debug.data_pointer;
	r->names = r->running.sym_count ? &r->running : r->have_debug && r->debug.sym_count ? &r->debug : NULL;
	if (r->partial) {
		start_partial(r);
		return 0;
	}
	/* equal addresses say nothing unless all that lies there is equal too */
	if (layouts_equal(&r->original, &r->running)) {
		r->same_layout = !first_difference(&r->original, &r->running, &addr);
		if (!r->same_layout && !r->names)
			refuse_difference(r, addr);
	}
	return 0;
}

void rs_note_code(struct od *d, const struct lk_sym *rebuilt, uint64_t running, uint64_t running_size)
{
	json_object_set_new(json_array_get(d->refused, json_array_size(d->refused) - 1), "code",
			    json_pack("{s:[I,I],s:[I,I]}", "rebuilt", (json_int_t)rebuilt->value,
				      (json_int_t)rebuilt->size, "running", (json_int_t)running,
				      (json_int_t)running_size));
}

bool rs_running_address(struct rs *r, const struct lk_sym *y, struct od_sec *s, uint64_t *addr)
{
	const struct lk_sym *found = NULL;
	unsigned pos, n = 0;

	if (r->same_layout) {
		*addr = y->value;
		return true;
	}
	if (!r->names) {
		od_refuse(r->d, y->name, "", s->obj->unit, "give the running file's debug file (--debug)",
			  "the running file is laid out differently from the rebuilt original and has no symbols");
		return false;
	}
	pos = lk_sympos(&r->original, y);
	for (size_t i = 1; i < r->names->sym_count; i++) {
		const struct lk_sym *o = &r->names->sym[i];

		if (o->type != y->type || !o->shndx || strcmp(o->name, y->name) || strcmp(o->file, y->file) ||
		    (o->bind == STB_LOCAL) != (y->bind == STB_LOCAL))
			continue;
		n++;
		if (n == (pos ? pos : 1))
			found = o;
	}
	if (!found || (!pos && n > 1)) {
		od_refuse(r->d, y->name, "", s->obj->unit, "rebuild exactly what runs",
			  found ? "the running file has several symbols of this name"
				: "the running file has no such symbol");
		return false;
	}
	if (found->size != y->size) {
		od_refuse(r->d, y->name, "", s->obj->unit, "rebuild exactly what runs: same source, compiler and flags",
			  "%s has %llu bytes in the running file and %llu in the rebuilt original", y->name,
			  (unsigned long long)found->size, (unsigned long long)y->size);
		if (s->kind == OD_CODE)
			rs_note_code(r->d, y, found->value, found->size);
		return false;
	}
	*addr = found->value;
	return true;
}

static struct rs_place slot_place(const struct lk *l, uint64_t slot)
{
	const struct lk_dynrel *d = lk_rel_at(l, slot);
	const uint8_t *b = lk_bytes(l, slot, 8);
	struct rs_place p = {.slot = slot};

	if (d && d->sym && d->sym->shndx == SHN_UNDEF) {
		p.valid = p.dynamic = true;
		p.sym = d->sym;
	} else if (d && d->sym) {
		p.valid = true;
		p.addr = d->sym->value;
	} else if (d && l->arch->modules->slot(d->type) == OD_SLOT_RELATIVE) {
		p.valid = true;
		p.addr = (uint64_t)d->addend;
	} else if (!d && b) {
		p.valid = true;
		memcpy(&p.addr, b, 8);
	}
	return p;
}

/* A word of data: the link may have left it to the dynamic linker. */
static struct rs_place word_place(const struct lk *l, uint64_t at, const struct od_rel *rel)
{
	const struct lk_dynrel *d = lk_rel_at(l, at);
	const uint8_t *b = lk_bytes(l, at, 8);
	struct rs_place p = {.valid = b != NULL};
	uint64_t w;

	if (!b)
		return p;
	memcpy(&w, b, 8);
	if (d && d->sym && d->sym->shndx == SHN_UNDEF) {
		p.dynamic = true;
		p.sym = d->sym;
	} else if (d && d->sym) {
		p.addr = d->sym->value;
	} else {
		p.addr = (d ? (uint64_t)d->addend : w) - (uint64_t)rel->addend;
	}
	return p;
}

const struct od_placed *rs_place(struct rs *r, const struct lk *l, struct od_sec *s, uint64_t addr, uint64_t size)
{
	struct od_placed **cached = &s->placed[l == &r->running], *p = *cached;
	const struct od_sym *own = &s->obj->sym[s->sym];

	if (p && p->addr == addr && p->linked_size == size)
		return p;
	p = *cached = od_alloc(&r->d->pool, 1, sizeof(*p));
	*p = (struct od_placed){.pool = &r->d->pool,
				.s = s,
				.l = l,
				.from = own->value,
				.size = own->size,
				.addr = addr,
				.linked_size = size};
	if (s->kind == OD_CODE && l->arch->modules->relaxed && !l->arch->modules->relaxed(p) && !p->why)
		p->why = "it cannot be read";
	return p;
}

const struct od_placed *rs_placed(struct rs *r, const struct lk *l, struct od_sec *s)
{
	const struct lk_sym *y;
	uint64_t addr;

	if (!s->sym)
		return NULL;
	y = lk_sym_of(l == &r->patched ? l : &r->original, s->obj, &s->obj->sym[s->sym], l == &r->patched);
	if (!y)
		return NULL;
	addr = y->value;
	if (l == &r->running && !rs_running_address(r, y, s, &addr))
		return NULL;
	return rs_place(r, l, s, addr, y->size);
}

static struct od_operand half_operand(const struct od_placed *p, const struct od_rel *rel)
{
	uint64_t at;

	if (!od_placed_at(p, rel->off, &at))
		return (struct od_operand){.valid = false};
	if (od_placed_gone(p, rel->off))
		return (struct od_operand){.valid = true, .gone = true};
	return p->l->arch->modules->operand(p->l, at, rel);
}

/*
 * Reads an operand that takes two instructions. In merged sections each addend has a place of its own; elsewhere any
 * other reference to the symbol will do.
 */
static struct od_operand joined_operand(struct rs *r, const struct od_placed *p, const struct od_rel *rel,
					const struct od_operand *half)
{
	const struct od_sec *s = p->s;
	uint32_t to = s->obj->sym[rel->sym].shndx;
	bool merged = to && to < s->obj->sec_count && s->obj->sec[to].flags & SHF_MERGE;
	const struct od_sec *in;
	const struct od_rel *other = od_other_half(s, rel, true, &in);
	struct od_operand o, none = {.valid = false};

	if (!other && !merged)
		other = od_other_half(s, rel, false, &in);
	if (!other || !p->l->arch->modules->join)
		return none;
	if (in != s)
		p = rs_placed(r, p->l, &s->obj->sec[in->index]);
	if (!p)
		return none;
	o = half_operand(p, other);
	if (!o.valid)
		return none;
	return od_rel_info(s, rel).half == OD_HALF_HIGH ? p->l->arch->modules->join(half, rel, &o, other)
							: p->l->arch->modules->join(&o, other, half, rel);
}

struct od_operand rs_read_operand(struct rs *r, const struct od_placed *p, const struct od_rel *rel)
{
	struct od_operand o = half_operand(p, rel);

	if (o.valid && !o.whole)
		o = joined_operand(r, p, rel, &o);
	return o;
}

struct rs_place rs_read_place(struct rs *r, const struct od_placed *at, const struct od_rel *rel)
{
	const struct lk *l = at->l;
	struct rs_place p = {.valid = false};
	struct od_operand o;
	const struct lk_dynrel *d;
	uint64_t slot;

	if (od_rel_info(at->s, rel).word)
		return od_placed_at(at, rel->off, &slot) ? word_place(l, slot, rel) : p;
	o = rs_read_operand(r, at, rel);
	if (!o.valid)
		return p;
	if (o.slot)
		return slot_place(l, o.value);
	p.valid = true;
	p.addr = o.value;
	slot = lk_plt_slot(l, p.addr);
	if (slot) {
		struct rs_place q = slot_place(l, slot);

		d = lk_rel_at(l, slot);
		if (q.valid && q.dynamic)
			return q;
		/* a function that the file defines and that can be preempted still goes through its slot */
		if (d && d->sym) {
			q.dynamic = true;
			q.sym = d->sym;
			return q;
		}
	}
	return p;
}

static size_t add_symbol(struct rs *r, json_t *o)
{
	size_t i;
	json_t *old;

	json_array_foreach(r->symbols, i, old)
	{
		if (json_equal(old, o)) {
			json_decref(o);
			return i;
		}
	}
	json_array_append_new(r->symbols, o);
	return json_array_size(r->symbols) - 1;
}

static struct rs_result address_symbol(struct rs *r, const char *name, bool function, uint64_t addr, int64_t addend)
{
	size_t i = add_symbol(r, json_pack("{s:s,s:s,s:s,s:i,s:I}", "name", name, "how", "address", "type",
					   function ? "func" : "object", "object", 0, "address", (json_int_t)addr));

	return (struct rs_result){.kind = RS_SYMBOL, .symbol = i, .name = name, .addend = addend};
}

static struct rs_result refused(struct rs *r, struct od_sec *s, const char *symbol, const char *advice,
				const char *reason)
{
	od_refuse(r->d, symbol, s->name, s->obj->unit, advice, "%s", reason);
	return (struct rs_result){.kind = RS_FAILED};
}

/* The unit may do without the symbol when it is compiled once more, with this option. */
static void note_again(struct rs *r, const char *symbol, const char *unit, const char *gcc, const char *clang)
{
	json_t *o = json_pack("{s:s,s:s,s:s,s:s}", "symbol", symbol, "file", unit, "gcc", gcc, "clang", clang), *old;
	bool known = false;
	size_t i;

	json_array_foreach(r->d->again, i, old) known = known || json_equal(old, o);
	if (known)
		json_decref(o);
	else
		json_array_append_new(r->d->again, o);
}

/* Where the same relocation fills in slots and words of data, which the program may change. */
static bool in_got(const struct lk *l, const struct lk_dynrel *d)
{
	const struct lk_sec *s = lk_sec_at(l, d->off);

	return s && !strncmp(s->name, ".got", 4) && !d->addend;
}

static struct rs_result dynamic_symbol(struct rs *r, struct od_sec *s, const struct od_rel *rel, const struct lk_sym *y)
{
	const struct lk_sym *have = lk_dynamic(&r->running, y->name);
	uint64_t got = 0, plt = 0;
	bool function = y->type != STT_OBJECT && y->type != STT_TLS;
	size_t i;

	for (size_t k = 0; k < r->running.rel_count; k++) {
		const struct lk_dynrel *d = &r->running.rel[k];

		enum od_slot kind = r->d->arch->modules->slot(d->type);

		if (d->sym && !strcmp(d->sym->name, y->name) &&
		    ((kind == OD_SLOT_ADDRESS && in_got(&r->running, d)) || kind == OD_SLOT_JUMP) &&
		    (!got || kind == OD_SLOT_ADDRESS))
			got = d->off;
	}
	for (size_t k = 0; k < r->running.plt_count; k++) {
		const struct lk_dynrel *d = lk_rel_at(&r->running, r->running.plt[k].slot);

		if (d && d->sym && !strcmp(d->sym->name, y->name))
			plt = r->running.plt[k].addr;
	}
	if (!od_rel_is_got(s, rel) && !od_rel_info(s, rel).word && !(function && od_rel_use(s, rel) == OD_USE_CALL) &&
	    !plt) {
		note_again(r, y->name, s->obj->unit, r->d->arch->modules->indirect, "-fno-direct-access-external-data");
		return refused(r, s, y->name,
			       od_printf(&r->d->pool, "compile this unit with %s", r->d->arch->modules->indirect),
			       "a direct reference to another object's symbol, for which the running file has no copy");
	}
	i = add_symbol(r, json_pack("{s:s,s:s,s:s,s:i,s:s,s:I,s:I}", "name", y->name, "how", "dynamic", "type",
				    function ? "func" : "object", "object", 0, "version",
				    have ? have->version : y->version, "got", (json_int_t)got, "plt", (json_int_t)plt));
	return (struct rs_result){.kind = RS_SYMBOL, .symbol = i, .name = y->name, .addend = rel->addend};
}

static bool is_runtime_name(const char *name)
{
	static const char *const names[KLP_SHADOW_CALLS] = KLP_SHADOW_CALL_NAMES;

	for (size_t i = 0; i < KLP_SHADOW_CALLS; i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

/*
 * A function of klp's runtime (<klp/shadow.h>): the header's reference is weak, so the link left it undefined. Whoever
 * has something of that name could mean his own (L2).
 */
static struct rs_result runtime_symbol(struct rs *r, struct od_sec *s, const struct od_rel *rel,
				       const struct od_target *t)
{
	const char *name = t->sym->name;
	const struct lk_sym *linked = lk_global(&r->patched, name);
	size_t i;

	if (t->sec || (linked && linked->shndx) || lk_global(&r->original, name) || lk_dynamic(&r->original, name) ||
	    lk_dynamic(&r->running, name))
		return refused(r, s, name, "give the program's own function another name",
			       "the program has a symbol with the name of a function of klp's runtime");
	i = add_symbol(r, json_pack("{s:s,s:s,s:s,s:i}", "name", name, "how", "klp", "type", "func", "object", 0));
	return (struct rs_result){.kind = RS_SYMBOL, .symbol = i, .name = name, .addend = rel->addend};
}

static struct rs_result tls_symbol(struct rs *r, struct od_sec *s, const struct od_rel *rel, struct od_target *t)
{
	const char *name = t->sym->name;
	const struct lk_sym *y;
	uint64_t got = 0, addr, offset_in = 0;
	int64_t addend = rel->addend;
	size_t i;

	if (t->sec && t->sym->type == STT_SECTION) {
		if (!t->sec->sym)
			return refused(r, s, t->sec->name, "build with -fdata-sections",
				       "thread-local data without a name");
		offset_in = t->sec->obj->sym[t->sec->sym].value;
		t->sym = &t->sec->obj->sym[t->sec->sym];
		name = t->sym->name;
		addend -= (int64_t)offset_in;
	}
	if (t->sec && !t->sec->peer)
		return refused(r, s, name, "use a shadow variable", "new thread-local variable");
	y = t->sec ? lk_sym_of(&r->original, t->sec->peer->obj, &t->sec->peer->obj->sym[t->sec->peer->sym], 0)
		   : lk_global(&r->original, name);
	if (y && t->sec && r->partial && !rs_check_object(r, t->sec->peer, y, y->value))
		return (struct rs_result){.kind = RS_FAILED};
	if (y && y->type == STT_TLS && y->shndx) {
		if (!rs_running_address(r, y, s, &addr))
			return (struct rs_result){.kind = RS_FAILED};
	} else {
		addr = 0;
	}
	for (size_t k = 0; k < r->running.rel_count; k++) {
		const struct lk_dynrel *d = &r->running.rel[k];
		enum od_slot kind = r->d->arch->modules->slot(d->type);

		if (kind != OD_SLOT_TPOFF && kind != OD_SLOT_DTPMOD && kind != OD_SLOT_DESC)
			continue;
		if (d->sym ? !strcmp(d->sym->name, name) : y && (uint64_t)d->addend == addr && kind != OD_SLOT_DTPMOD)
			got = d->off;
	}
	if (!y && !got)
		return refused(r, s, name, "use a thread-local variable that the running file knows",
			       "a thread-local symbol of another object for which the running file has no slot");
	i = add_symbol(r, json_pack("{s:s,s:s,s:s,s:i,s:I,s:I}", "name", name, "how", "tls", "type", "tls", "object", 0,
				    "address", (json_int_t)addr, "got", (json_int_t)got));
	return (struct rs_result){.kind = RS_SYMBOL, .symbol = i, .name = name, .addend = addend};
}

/* The same symbol in the linked original, by what it is called in the linked patched program. */
static const struct lk_sym *original_of(struct rs *r, const struct od_target *t, const struct lk_sym *patched)
{
	if (t->sec) {
		const struct od_sec *p = t->sec->peer;

		if (!p)
			return NULL;
		if (t->sym->bind != STB_LOCAL)
			return lk_global(&r->original, t->sym->name);
		return p->sym ? lk_sym_of(&r->original, p->obj, &p->obj->sym[p->sym], 0) : NULL;
	}
	return patched->bind != STB_LOCAL || !*patched->file ? lk_global(&r->original, patched->name) : NULL;
}

static bool is_entry(const struct od_sec *s, const struct od_rel *rel, const struct od_target *t)
{
	int64_t off = t->off + od_rel_bias(s, rel);

	return t->sec->sym && off == (int64_t)t->sec->obj->sym[t->sec->sym].value;
}

static const char *unknown_type(struct rs *r, uint32_t type)
{
	const char *name = r->d->arch->rel_name ? r->d->arch->rel_name(type) : NULL;

	return od_printf(&r->d->pool, "a relocation that klp-build does not know: %s (type %u)",
			 name ? name : "it has no name here", type);
}

/* The same where nothing was linked: the module's reference means what the running file's link did with the name. */
static struct rs_result resolve_partial(struct rs *r, struct od_sec *s, const struct od_rel *rel, struct od_target *t,
					const struct od_sym *named, int64_t addend)
{
	static const char with_link[] = "make the module with a build command that links (-b, -t)";
	enum rs_binding binding = RS_OWN;
	const struct lk_sym *y = NULL;
	const char *why;

	if (!t->sec || named->bind != STB_LOCAL)
		binding = rs_binding(r, named, &y, &why);
	if (binding == RS_UNCONFIRMED)
		return refused(r, s, named->name, with_link, why);
	if (binding == RS_DYNAMIC)
		return dynamic_symbol(r, s, rel, y);
	if (t->sec)
		y = original_of(r, t, NULL);
	if (!y || !y->shndx)
		return refused(r, s, named->name, "",
			       "the running file has no such symbol, or several that cannot be told apart");
	if (y->type == STT_GNU_IFUNC)
		return refused(r, s, named->name, "",
			       "a function that is chosen at start (ifunc) of the target itself");
	if (t->sec && !rs_check_equal(r, t->sec->peer, y, y->value))
		return (struct rs_result){.kind = RS_FAILED};
	return address_symbol(r, y->name, y->type == STT_FUNC, y->value, addend);
}

struct rs_result rs_resolve(struct rs *r, struct od_sec *s, const struct od_rel *rel)
{
	struct rs_result internal = {.kind = RS_INTERNAL, .addend = rel->addend};
	struct od_target t = od_resolve(&r->d->global_after, s, rel);
	struct od_rel_info info = od_rel_info(s, rel);
	const struct lk_sym *me = NULL, *want, *y, *found;
	const struct od_sym *named = t.sym;
	struct rs_place p = {.valid = false};
	const struct od_placed *at;
	uint64_t addr, plt = 0;
	int64_t addend = rel->addend;
	const char *without;
	struct rs_result out;

	if (info.class == OD_REL_NONE)
		return (struct rs_result){.kind = RS_NONE};
	if (info.class == OD_REL_TLS)
		return tls_symbol(r, s, rel, &t);
	if (info.class == OD_REL_UNKNOWN)
		return refused(r, s, t.sym->name, "build without the option that makes it", unknown_type(r, rel->type));
	if (info.term) {
		internal.target = t;
		return t.sec && t.sec->included
			   ? internal
			   : refused(r, s, t.sym->name, "",
				     "a distance between places of which one is not in the module");
	}
	if (is_runtime_name(t.sym->name))
		return runtime_symbol(r, s, rel, &t);
	internal.target = t;
	if (t.sec) {
		enum od_kind k = t.sec->kind;

		if (k == OD_STRINGS) {
			internal.kind = t.sec->entsize == 1 ? RS_STRING : RS_INTERNAL;
			t.sec->included = t.sec->included || t.sec->entsize != 1;
			return internal;
		}
		if (k == OD_ANON || k == OD_CONSTS || k == OD_EXCEPT)
			return internal;
		/* what the target has too is called at its own entry (L1), whatever is changed about it */
		if (t.sec->included && !(k == OD_CODE && t.sec->peer && !t.sec->hot &&
					 (s->kind != OD_ANON || !info.pc) && is_entry(s, rel, &t)))
			return internal;
		if (named->type == STT_SECTION) {
			if (!t.sec->sym)
				return refused(r, s, t.sec->name, "build with -ffunction-sections -fdata-sections",
					       "a reference to something without a name");
			named = &t.sec->obj->sym[t.sec->sym];
			addend -= (int64_t)named->value;
		}
	} else if (t.sym->shndx && (t.sym->shndx & 0xffff) == SHN_ABS) {
		return refused(r, s, t.sym->name, "", "an absolute symbol");
	}
	if (r->partial)
		return resolve_partial(r, s, rel, &t, named, addend);
	if (s->sym && s->kind != OD_ANON) {
		const struct od_sym *own = &s->obj->sym[s->sym];

		me = lk_sym_of(&r->patched, s->obj, own, 1);
		if (!me)
			return refused(r, s, own->name, "", "its place in the linked patched program cannot be told");
		at = rs_place(r, &r->patched, s, me->value, me->size);
		if (at->why)
			return refused(r, s, own->name, "",
				       od_printf(&r->d->pool,
						 "what the link made of it cannot be read back from the patched "
						 "program: %s, at offset %llu",
						 at->why, (unsigned long long)at->why_at));
		p = rs_read_place(r, at, rel);
		if (!p.valid)
			return refused(
			    r, s, named->name, "",
			    "what the link made of this reference cannot be read back from the patched program");
		if (t.sym->type == STT_SECTION && t.sec)
			p.addr += named->value; /* S was the section's start */
	}
	if (p.valid && p.dynamic)
		return dynamic_symbol(r, s, rel, p.sym);
	want = t.sec ? lk_sym_of(&r->patched, t.sec->obj, named, 1) : lk_global(&r->patched, named->name);
	if (!p.valid) {
		if (!want && !t.sec && lk_dynamic(&r->patched, named->name))
			return dynamic_symbol(r, s, rel, lk_dynamic(&r->patched, named->name));
		if (!want)
			return refused(r, s, named->name, "", "not found in the linked patched program");
		found = want;
	} else {
		found = want && want->value == p.addr ? want : lk_at(&r->patched, p.addr, named->name);
		plt = lk_plt_slot(&r->patched, p.addr);
		if (!found && plt && want)
			found = want; /* an indirect function, through its PLT entry */
		if (!found)
			return refused(r, s, named->name, "",
				       "the patched program resolves this reference to a place without a name");
		if (found != want && t.sec && (!want || found->value != want->value))
			t.sec = NULL; /* --wrap, --defsym, versions: what the link chose */
	}
	y = original_of(r, &t, found);
	if (!y || !y->shndx) {
		const struct lk_sym *dyn = lk_dynamic(&r->patched, named->name);

		if (dyn && (dyn->shndx == SHN_UNDEF || !t.sec))
			return dynamic_symbol(r, s, rel, dyn);
		without = !t.sec && r->d->arch->modules->without ? r->d->arch->modules->without(named->name) : NULL;
		if (without && !lk_global(&r->original, named->name)) {
			note_again(r, named->name, s->obj->unit, without, without);
			return refused(r, s, named->name, od_printf(&r->d->pool, "compile this unit with %s", without),
				       "a function of the compiler's library that the running file does not have");
		}
		return refused(r, s, named->name, "",
			       "the original program has no such symbol, or several that cannot be told apart");
	}
	if (y->type == STT_GNU_IFUNC)
		return refused(r, s, named->name, "",
			       "a function that is chosen at start (ifunc) of the target itself");
	if (!rs_running_address(r, y, s, &addr))
		return (struct rs_result){.kind = RS_FAILED};
	if (t.sec && t.sec->peer && !rs_check_equal(r, t.sec->peer, y, addr))
		return (struct rs_result){.kind = RS_FAILED};
	out = address_symbol(r, y->name, y->type == STT_FUNC, addr, addend);
	return out;
}
