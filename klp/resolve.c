/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/resolve.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "klp/reloc.h"
#include "klp/scope.h"

struct klp_resolver {
	const struct klp_module *m;
	const struct klp_process *p;
	const struct klp_object *o;
	struct klp_scope scope;
	struct klp_dso *dso; /* *o; NULL until the scope is open */
	const struct klp_chooser *chooser;
};

/* A word of the target that its dynamic linker has filled in. */
struct klp_slot {
	enum klp_slot_kind kind;
	Elf64_Rela rela;
	Elf64_Sym sym;
	char name[KLP_SCOPE_MAX_SYMBOL]; /* "" for a relocation without a symbol */
	uint64_t value[2];               /* [1]: of a pair */
	bool lazy;
};

int klp_resolver_new(const struct klp_module *m, const struct klp_process *p, const struct klp_object *o,
		     const struct klp_chooser *chooser, struct klp_resolver **r, struct klp_error *e)
{
	*r = calloc(1, sizeof(**r));
	if (!*r)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for symbols");
	(*r)->m = m;
	(*r)->p = p;
	(*r)->o = o;
	(*r)->chooser = chooser;
	return 0;
}

void klp_resolver_free(struct klp_resolver *r)
{
	if (!r)
		return;
	klp_scope_close(&r->scope);
	free(r);
}

/* Only symbols that are left to the dynamic linker need its tables. */
static int klp_resolver_scope(struct klp_resolver *r, struct klp_error *e)
{
	int rc;

	if (r->dso)
		return 0;
	rc = klp_scope_open(r->p, &r->scope, e);
	if (rc)
		return rc;
	r->dso = klp_scope_dso(&r->scope, r->o);
	if (r->dso)
		return 0;
	klp_scope_close(&r->scope);
	return klp_fail(e, ENOTSUP, KLP_UNSUPPORTED, "%s is not in the process's list of objects (dlmopen?)",
			r->o->path);
}

/* Whether the slot still leads to the stub that has it resolved at the first call. */
static int klp_slot_lazy(const struct klp_scope *s, const struct klp_dso *d, size_t index, uint64_t value, bool *lazy,
			 struct klp_error *e)
{
	uint8_t code[KLP_LAZY_STUB_MAX];
	int rc;

	*lazy = false;
	if (index == SIZE_MAX || value < d->o->text_start || value >= d->o->text_end ||
	    d->o->text_end - value < sizeof(code))
		return 0;
	rc = klp_process_read(s->p, value, code, sizeof(code), e);
	if (!rc)
		*lazy = klp_slot_is_lazy(code, sizeof(code), index);
	return rc;
}

static int klp_slot_load(const struct klp_scope *s, struct klp_dso *d, const Elf64_Rela *rela, size_t index,
			 struct klp_slot *out, struct klp_error *e)
{
	uint64_t at = d->o->bias + rela->r_offset;
	size_t len;
	int rc = 0;

	memset(out, 0, sizeof(*out));
	out->rela = *rela;
	out->kind = klp_slot_kind((uint32_t)ELF64_R_TYPE(rela->r_info));
	len = out->kind == KLP_SLOT_DTPMOD || out->kind == KLP_SLOT_DESC ? 16 : 8;
	if (at < d->o->start || at >= d->o->end || len > d->o->end - at)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "a relocation of %s lies outside of it", d->o->path);
	if (ELF64_R_SYM(rela->r_info))
		rc = klp_dso_symbol(s, d, ELF64_R_SYM(rela->r_info), &out->sym, out->name, e);
	if (!rc)
		rc = klp_process_read(s->p, at, out->value, len, e);
	if (!rc && out->kind == KLP_SLOT_JUMP)
		rc = klp_slot_lazy(s, d, index, out->value[0], &out->lazy, e);
	return rc;
}

/* The slot that the module names for symbol *y: it must be that symbol's. */
static int klp_resolver_slot(struct klp_resolver *r, const struct klp_module_symbol *y, uint64_t addr,
			     struct klp_slot *out, struct klp_error *e)
{
	Elf64_Rela rela;
	size_t index;
	int rc = klp_resolver_scope(r, e);

	if (!rc)
		rc = klp_dso_slot(&r->scope, r->dso, addr, &rela, &index, e);
	if (rc < 0)
		return rc;
	if (!rc)
		return klp_fail(e, EINVAL, KLP_NO_SYMBOL,
				"%s has no relocated slot at 0x%" PRIx64 ", which the module names for %s", r->o->path,
				addr, y->name);
	rc = klp_slot_load(&r->scope, r->dso, &rela, index, out, e);
	if (rc)
		return rc;
	if (*out->name && strcmp(out->name, y->name))
		return klp_fail(e, EINVAL, KLP_NO_SYMBOL, "the slot at 0x%" PRIx64 " of %s belongs to %s, not to %s",
				addr, r->o->path, out->name, y->name);
	return 0;
}

static bool klp_in_text(uint64_t addr, const struct klp_object *o)
{
	return addr >= o->text_start && addr < o->text_end;
}

/* The choice that nobody has needed so far (hazard N2). */
static int klp_resolve_choose(const struct klp_resolver *r, const struct klp_definition *def, const char *name,
			      uint64_t *addr, struct klp_error *e)
{
	const struct klp_object *o = def->dso->o;
	int rc;

	if (!r->chooser || !o->libc || !klp_in_text(def->value, o))
		return klp_fail(
		    e, ENOENT, KLP_NO_SYMBOL,
		    "%s of %s is chosen at run time (ifunc), and no object of the process has resolved it yet", name,
		    o->path);
	rc = r->chooser->run(r->chooser->ctx, def->value, addr, e);
	if (!rc && !klp_in_text(*addr, o))
		rc = klp_fail(e, EINVAL, KLP_NO_SYMBOL, "the resolver of %s of %s answers 0x%" PRIx64, name, o->path,
			      *addr);
	return rc;
}

/* A relocated slot of any object for the definition *def tells an ifunc's choice; else its resolver is run. */
static int klp_resolve_ifunc(struct klp_resolver *r, const struct klp_definition *def, const char *name, uint64_t *addr,
			     struct klp_error *e)
{
	char want[KLP_SCOPE_MAX_SYMBOL], have[KLP_SCOPE_MAX_SYMBOL];
	struct klp_slot slot;
	int rc = klp_dso_version_name(&r->scope, def->dso, def->index, want, e);

	if (rc)
		return rc;
	for (size_t i = 0; i < r->scope.count; i++) {
		struct klp_dso *d = &r->scope.dso[i];
		struct klp_rela_table *table[2] = {&d->jmprel, &d->rela};

		for (size_t k = 0; k < 2; k++) {
			rc = klp_dso_read_rela(&r->scope, d, table[k], e);
			if (rc)
				return rc;
			for (size_t n = 0; n < table[k]->count; n++) {
				const Elf64_Rela *rela = &table[k]->rela[n];
				enum klp_slot_kind kind = klp_slot_kind((uint32_t)ELF64_R_TYPE(rela->r_info));

				if ((kind != KLP_SLOT_JUMP && kind != KLP_SLOT_ADDRESS) || !ELF64_R_SYM(rela->r_info) ||
				    rela->r_addend)
					continue;
				rc = klp_slot_load(&r->scope, d, rela, k == 0 ? n : SIZE_MAX, &slot, e);
				if (!rc && !strcmp(slot.name, name))
					rc = klp_dso_version_name(&r->scope, d, ELF64_R_SYM(rela->r_info), have, e);
				if (rc)
					return rc;
				/* The chosen function is the library's own; another value is another definition's. */
				if (strcmp(slot.name, name) || slot.lazy || (*want && *have && strcmp(want, have)) ||
				    !klp_in_text(slot.value[0], def->dso->o))
					continue;
				*addr = slot.value[0];
				return 0;
			}
		}
	}
	return klp_resolve_choose(r, def, name, addr, e);
}

static int klp_resolve_lookup(struct klp_resolver *r, const struct klp_module_symbol *y, bool for_address,
			      uint64_t *addr, struct klp_error *e)
{
	struct klp_definition def;
	int rc = klp_resolver_scope(r, e);

	if (!rc)
		rc = klp_scope_lookup(&r->scope, r->dso, y->name, y->version, for_address, &def, e);
	if (rc < 0)
		return rc;
	if (!rc)
		return klp_fail(e, ENOENT, KLP_NO_SYMBOL, "no object of the process defines %s%s%s", y->name,
				*y->version ? "@" : "", y->version);
	if (ELF64_ST_TYPE(def.sym.st_info) == STT_TLS)
		return klp_fail(e, EINVAL, KLP_NO_SYMBOL, "%s is thread-local in %s", y->name, def.dso->o->path);
	if (ELF64_ST_TYPE(def.sym.st_info) == STT_GNU_IFUNC)
		return klp_resolve_ifunc(r, &def, y->name, addr, e);
	*addr = def.value;
	return 0;
}

/* A JUMP_SLOT holds the function itself; if the executable has made its PLT entry the function's address, that is its
 * address. */
static int klp_resolve_canonical(struct klp_resolver *r, const struct klp_module_symbol *y, uint64_t *addr,
				 struct klp_error *e)
{
	struct klp_definition def;
	int rc = klp_dso_lookup(&r->scope, &r->scope.dso[0], y->name, y->version, true, &def, e);

	if (rc > 0 && def.plt)
		*addr = def.value;
	return rc < 0 ? rc : 0;
}

static int klp_slot_usable(const struct klp_resolver *r, const struct klp_module_symbol *y, const struct klp_slot *slot,
			   struct klp_error *e)
{
	if ((slot->kind != KLP_SLOT_JUMP && slot->kind != KLP_SLOT_ADDRESS) || !*slot->name ||
	    (slot->kind == KLP_SLOT_ADDRESS && slot->rela.r_addend))
		return klp_fail(e, EINVAL, KLP_NO_SYMBOL,
				"the slot at 0x%" PRIx64 " of %s does not hold the address of %s", slot->rela.r_offset,
				r->o->path, y->name);
	if (!slot->value[0] && ELF64_ST_BIND(slot->sym.st_info) != STB_WEAK)
		return klp_fail(e, EINVAL, KLP_NO_SYMBOL, "the slot of %s in %s is still empty", y->name, r->o->path);
	return 0;
}

static int klp_resolve_symbol(const struct klp_resolver *r, size_t index, const struct klp_module_symbol **y,
			      struct klp_error *e)
{
	if (index >= r->m->symbol_count)
		return klp_fail(e, EINVAL, KLP_INTERNAL, "symbol %zu of %zu", index, r->m->symbol_count);
	*y = &r->m->symbol[index];
	return 0;
}

static int klp_resolve_own(const struct klp_resolver *r, const struct klp_module_symbol *y, uint64_t *addr,
			   struct klp_error *e)
{
	*addr = r->o->bias + y->address;
	/* The end of the last section is an address that programs use too. */
	if (*addr < r->o->start || *addr > r->o->end ||
	    (y->function && (*addr < r->o->text_start || *addr >= r->o->text_end)))
		return klp_fail(e, EINVAL, KLP_NO_SYMBOL, "%s at 0x%" PRIx64 " does not lie in %s", y->name, y->address,
				r->o->path);
	return 0;
}

int klp_resolve_address(struct klp_resolver *r, size_t index, uint64_t *addr, struct klp_error *e)
{
	const struct klp_module_symbol *y = NULL;
	struct klp_slot slot;
	int rc = klp_resolve_symbol(r, index, &y, e);

	if (rc)
		return rc;
	if (y->how == KLP_SYM_TLS)
		return klp_fail(e, EINVAL, KLP_NO_SYMBOL, "%s is thread-local, but used as if it had one address",
				y->name);
	if (y->how == KLP_SYM_ADDRESS)
		return klp_resolve_own(r, y, addr, e);
	if (y->how == KLP_SYM_RUNTIME)
		return r->chooser && r->chooser->runtime
			   ? r->chooser->runtime(r->chooser->ctx, y->name, addr, e)
			   : klp_fail(e, ENOENT, KLP_NO_SYMBOL, "%s is of klp's runtime, which is not there", y->name);
	if (!y->got)
		return klp_resolve_lookup(r, y, true, addr, e);
	rc = klp_resolver_slot(r, y, y->got, &slot, e);
	if (!rc)
		rc = klp_slot_usable(r, y, &slot, e);
	if (rc)
		return rc;
	if (slot.lazy)
		return klp_resolve_lookup(r, y, true, addr, e);
	*addr = slot.value[0];
	return slot.kind == KLP_SLOT_JUMP ? klp_resolve_canonical(r, y, addr, e) : 0;
}

int klp_resolve_call(struct klp_resolver *r, size_t index, uint64_t *addr, uint64_t *near_plt, struct klp_error *e)
{
	const struct klp_module_symbol *y = NULL;
	struct klp_slot slot;
	int rc = klp_resolve_symbol(r, index, &y, e);

	*near_plt = 0;
	if (rc)
		return rc;
	if (y->how != KLP_SYM_DYNAMIC)
		return klp_resolve_address(r, index, addr, e);
	if (y->plt) {
		*near_plt = r->o->bias + y->plt;
		if (*near_plt < r->o->text_start || *near_plt >= r->o->text_end)
			return klp_fail(e, EINVAL, KLP_NO_SYMBOL,
					"the PLT entry of %s at 0x%" PRIx64 " does not lie in the code of %s", y->name,
					y->plt, r->o->path);
	}
	if (y->got) {
		rc = klp_resolver_slot(r, y, y->got, &slot, e);
		if (!rc)
			rc = klp_slot_usable(r, y, &slot, e);
		if (rc)
			return rc;
		if (!slot.lazy) {
			*addr = slot.value[0];
			return 0;
		}
	}
	if (*near_plt) {
		*addr = *near_plt; /* it binds itself at the first call */
		return 0;
	}
	return klp_resolve_lookup(r, y, false, addr, e);
}

/* The object's own TLS block, from slots of variables that are its own: those without a symbol. */
static int klp_tls_own(struct klp_resolver *r, uint64_t offset, struct klp_tls *t, struct klp_error *e)
{
	struct klp_dso *d = r->dso;
	struct klp_slot slot;
	int rc = klp_dso_read_rela(&r->scope, d, &d->rela, e);

	for (size_t i = 0; i < d->rela.count && !rc; i++) {
		const Elf64_Rela *rela = &d->rela.rela[i];
		enum klp_slot_kind kind = klp_slot_kind((uint32_t)ELF64_R_TYPE(rela->r_info));

		if (ELF64_R_SYM(rela->r_info) || (kind != KLP_SLOT_TPOFF && kind != KLP_SLOT_DTPMOD))
			continue;
		rc = klp_slot_load(&r->scope, d, rela, SIZE_MAX, &slot, e);
		if (rc)
			break;
		if (kind == KLP_SLOT_TPOFF && !t->has_tpoff) {
			t->has_tpoff = true;
			t->tpoff = (int64_t)(slot.value[0] - (uint64_t)rela->r_addend + offset);
		} else if (kind == KLP_SLOT_DTPMOD && !t->has_module) {
			t->has_module = true;
			t->module = slot.value[0];
			t->dtpoff = offset;
		}
	}
	return rc;
}

static int klp_tls_desc(struct klp_resolver *r, const struct klp_slot *slot, struct klp_tls *t, struct klp_error *e)
{
	uint8_t code[KLP_DESC_STATIC_MAX];
	int rc;

	/* Still the object's own stub that has the descriptor filled in at its first use. */
	if (slot->value[0] >= r->o->start && slot->value[0] < r->o->end)
		return 0;
	rc = klp_process_read(r->p, slot->value[0], code, sizeof(code), e);
	if (rc)
		return rc;
	if (klp_desc_is_static(code, sizeof(code))) {
		t->has_tpoff = true;
		t->tpoff = (int64_t)slot->value[1];
		return 0;
	}
	/* Of the same variable: whatever the argument means to the resolver, it means the same for the module. */
	t->has_desc = true;
	t->desc[0] = slot->value[0];
	t->desc[1] = slot->value[1];
	return 0;
}

/* The slot that the module names: the variable's own, or (without a symbol) one of the object's block. */
static int klp_tls_slot(struct klp_resolver *r, const struct klp_module_symbol *y, struct klp_tls *t,
			struct klp_error *e)
{
	struct klp_slot slot;
	uint64_t shift;
	int rc = klp_resolver_slot(r, y, y->got_tls, &slot, e);

	if (rc)
		return rc;
	if (!*slot.name && !y->has_address)
		return klp_fail(e, EINVAL, KLP_NO_SYMBOL, "the slot of thread-local %s in %s names no variable",
				y->name, r->o->path);
	/* A slot with a symbol is for the variable itself; one without is for the block's byte `addend`. */
	shift = *slot.name ? 0 - (uint64_t)slot.rela.r_addend : y->address - (uint64_t)slot.rela.r_addend;
	switch (slot.kind) {
	case KLP_SLOT_TPOFF:
		t->has_tpoff = true;
		t->tpoff = (int64_t)(slot.value[0] + shift);
		return 0;
	case KLP_SLOT_DTPMOD:
		t->has_module = true;
		t->module = slot.value[0];
		t->dtpoff = *slot.name ? slot.value[1] : y->address;
		return 0;
	case KLP_SLOT_DESC:
		if (shift)
			return klp_fail(e, ENOTSUP, KLP_UNSUPPORTED,
					"the TLS descriptor that the module names for %s is another variable's",
					y->name);
		return klp_tls_desc(r, &slot, t, e);
	default:
		return klp_fail(e, EINVAL, KLP_NO_SYMBOL, "the slot at 0x%" PRIx64 " of %s is not thread-local",
				y->got_tls, r->o->path);
	}
}

int klp_resolve_tls(struct klp_resolver *r, size_t index, struct klp_tls *t, struct klp_error *e)
{
	const struct klp_module_symbol *y = NULL;
	int rc = klp_resolve_symbol(r, index, &y, e);

	memset(t, 0, sizeof(*t));
	if (rc)
		return rc;
	if (y->how != KLP_SYM_TLS)
		return klp_fail(e, EINVAL, KLP_NO_SYMBOL, "%s is not thread-local in the metadata", y->name);
	/* The executable's own variables need no slot: its block's place is fixed when it is linked. */
	if (r->o->main && y->has_address && !y->got_tls) {
		if (y->address > r->o->tls_memsz)
			return klp_fail(e, EINVAL, KLP_NO_SYMBOL, "thread-local %s does not lie in the TLS of %s",
					y->name, r->o->path);
		t->has_tpoff = t->has_module = true;
		t->tpoff =
		    klp_tls_executable_offset(r->o->tls_vaddr, r->o->tls_memsz, r->o->tls_align) + (int64_t)y->address;
		t->module = 1; /* always the first */
		t->dtpoff = y->address;
		return 0;
	}
	if (y->got_tls) {
		rc = klp_tls_slot(r, y, t, e);
		if (rc)
			return rc;
	}
	if (!y->got_tls) {
		if (y->address > r->o->tls_memsz)
			return klp_fail(e, EINVAL, KLP_NO_SYMBOL, "thread-local %s does not lie in the TLS of %s",
					y->name, r->o->path);
		rc = klp_resolver_scope(r, e);
		if (!rc)
			rc = klp_tls_own(r, y->address, t, e);
		if (rc)
			return rc;
	}
	if (!t->has_tpoff && !t->has_module && !t->has_desc)
		return klp_fail(e, ENOENT, KLP_NO_SYMBOL,
				"%s has no slot from which the place of thread-local %s can be told", r->o->path,
				y->name);
	return 0;
}

/* How the object's own calls of an exported function were bound: 1 to *value, 0 unknown. */
static int klp_preempted_slot(const struct klp_scope *s, struct klp_dso *d, const char *name, uint64_t *value,
			      struct klp_error *e)
{
	struct klp_rela_table *table[2] = {&d->jmprel, &d->rela};
	struct klp_slot slot;

	for (size_t k = 0; k < 2; k++) {
		int rc = klp_dso_read_rela(s, d, table[k], e);

		for (size_t n = 0; n < table[k]->count && !rc; n++) {
			const Elf64_Rela *rela = &table[k]->rela[n];
			enum klp_slot_kind kind = klp_slot_kind((uint32_t)ELF64_R_TYPE(rela->r_info));

			if ((kind != KLP_SLOT_JUMP && kind != KLP_SLOT_ADDRESS) || !ELF64_R_SYM(rela->r_info) ||
			    rela->r_addend)
				continue;
			rc = klp_slot_load(s, d, rela, k == 0 ? n : SIZE_MAX, &slot, e);
			if (!rc && !slot.lazy && !strcmp(slot.name, name)) {
				*value = slot.value[0];
				return 1;
			}
		}
		if (rc)
			return rc;
	}
	return 0;
}

static int klp_preempted(struct klp_scope *s, const struct klp_object *o, const struct klp_module_function *fn,
			 struct klp_error *e)
{
	struct klp_dso *d = klp_scope_dso(s, o);
	char version[KLP_SCOPE_MAX_SYMBOL];
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_definition own, winner;
	uint64_t bound = 0;
	int rc;

	if (!d)
		return klp_fail(e, ENOTSUP, KLP_UNSUPPORTED, "%s is not in the process's list of objects (dlmopen?)",
				o->path);
	rc = klp_dso_lookup(s, d, fn->name, "", false, &own, e);
	if (rc < 0)
		return rc;
	if (!rc)
		return klp_fail(e, EINVAL, KLP_BAD_FUNCTION, "%s does not export %s", o->path, fn->name);
	if (own.value != o->bias + fn->address)
		return klp_fail(e, ENOTSUP, KLP_UNSUPPORTED,
				"%s exports %s in several versions, and the patched one is not the default", o->path,
				fn->name);
	rc = klp_dso_version_name(s, d, own.index, version, e);
	if (!rc)
		rc = klp_scope_lookup(s, d, fn->name, version, false, &winner, e);
	if (rc == -ENOTUNIQ && klp_preempted_slot(s, d, fn->name, &bound, &ignored) == 1 && bound == own.value)
		return 0; /* its own calls prove that its scope ends here */
	if (rc < 0)
		return rc;
	if (!rc)
		return klp_fail(e, EINVAL, KLP_INTERNAL, "%s is not found in the process's scope", fn->name);
	if (winner.value != own.value)
		return klp_fail(e, EADDRNOTAVAIL, KLP_PREEMPTED,
				"%s of %s is preempted: the process uses the one of %s", fn->name, o->path,
				winner.dso->o->path);
	return 0;
}

int klp_resolve_check_preempted(const struct klp_process *p, const struct klp_object *o,
				const struct klp_module_function *fn, struct klp_error *e)
{
	struct klp_scope s;
	int rc = klp_scope_open(p, &s, e);

	if (rc)
		return rc;
	rc = klp_preempted(&s, o, fn, e);
	klp_scope_close(&s);
	return rc;
}
