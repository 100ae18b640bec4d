/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/unwinder.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "klp/reloc.h"

#define KLP_FIND_FDE "_Unwind_Find_FDE"
#define KLP_UNWINDER "libgcc_s.so"

bool klp_is_unwinder(const struct klp_object *o)
{
	const char *name = o->path ? strrchr(o->path, '/') : NULL;

	name = name ? name + 1 : o->path;
	return name && !strncmp(name, KLP_UNWINDER, strlen(KLP_UNWINDER));
}

static int klp_unwinder_slot(const struct klp_scope *scope, struct klp_dso *d, struct klp_rela_table *t, uint64_t *slot,
			     struct klp_error *e)
{
	char name[KLP_SCOPE_MAX_SYMBOL];
	int rc = klp_dso_read_rela(scope, d, t, e);

	for (size_t i = 0; i < t->count && !rc && !*slot; i++) {
		enum klp_slot_kind kind = klp_slot_kind((uint32_t)ELF64_R_TYPE(t->rela[i].r_info));
		Elf64_Sym sym;

		if (kind != KLP_SLOT_JUMP && kind != KLP_SLOT_ADDRESS)
			continue;
		rc = klp_dso_symbol(scope, d, ELF64_R_SYM(t->rela[i].r_info), &sym, name, e);
		if (!rc && !strcmp(name, KLP_FIND_FDE))
			*slot = d->o->bias + t->rela[i].r_offset;
	}
	return rc;
}

int klp_unwinder_read(struct klp_scope *scope, struct klp_dso *d, struct klp_unwinder *u, struct klp_error *e)
{
	const struct klp_mapping *m;
	struct klp_definition def;
	int rc;

	memset(u, 0, sizeof(*u));
	rc = klp_unwinder_slot(scope, d, &d->jmprel, &u->slot, e);
	if (!rc && !u->slot)
		rc = klp_unwinder_slot(scope, d, &d->rela, &u->slot, e);
	if (rc || !u->slot)
		return rc;
	m = klp_process_mapping(scope->p, u->slot);
	u->writable = m && (m->prot & PROT_WRITE) && !m->shared && !(u->slot & 7);
	rc = klp_scope_lookup(scope, d, KLP_FIND_FDE, NULL, false, &def, e);
	if (rc < 0)
		return rc;
	if (!rc)
		return klp_fail(e, EOPNOTSUPP, KLP_NO_UNWIND_INFO, "nobody defines %s for %s", KLP_FIND_FDE,
				d->o->path);
	u->original = def.value;
	rc = klp_process_read(scope->p, u->slot, &u->value, sizeof(u->value), e);
	u->lazy = u->value != u->original && u->value >= d->o->text_start && u->value < d->o->text_end;
	return rc;
}

int klp_unwinder_check(const struct klp_process *p, struct klp_error *e)
{
	struct klp_scope scope;
	bool found = false;
	int rc = 0;

	for (size_t i = 0; i < p->object_count; i++)
		found |= klp_is_unwinder(&p->object[i]);
	if (!found)
		return klp_fail(e, EOPNOTSUPP, KLP_NO_UNWIND_INFO, "the process has no %s that could be told of it",
				KLP_UNWINDER);
	rc = klp_scope_open(p, &scope, e);
	for (size_t i = 0; i < p->object_count && !rc; i++) {
		struct klp_dso *d = klp_is_unwinder(&p->object[i]) ? klp_scope_dso(&scope, &p->object[i]) : NULL;
		struct klp_unwinder u;

		if (!d)
			continue;
		rc = klp_unwinder_read(&scope, d, &u, e);
		if (!rc && (!u.slot || !u.writable))
			rc = klp_fail(e, EOPNOTSUPP, KLP_NO_UNWIND_INFO,
				      "%s cannot be told of it: its slot is read-only", p->object[i].path);
	}
	klp_scope_close(&scope);
	return rc;
}
