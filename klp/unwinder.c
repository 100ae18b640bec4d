/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/unwinder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "klp/reloc.h"

#define KLP_FIND_FDE "_Unwind_Find_FDE"
#define KLP_UNWINDER "libgcc_s.so"
#define KLP_FIND_OBJECT "_dl_find_object"  /* the C library's, for unwinders */
#define KLP_RAISE "_Unwind_RaiseException" /* what an unwinder defines */
#define KLP_UNWINDER_MAX_NAMES (64u << 20) /* bytes of an object's dynamic names */

bool klp_is_unwinder(const struct klp_object *o)
{
	const char *name = o->path ? strrchr(o->path, '/') : NULL;

	name = name ? name + 1 : o->path;
	return name && !strncmp(name, KLP_UNWINDER, strlen(KLP_UNWINDER));
}

static int klp_unwinder_slot(const struct klp_scope *scope, struct klp_dso *d, struct klp_rela_table *t,
			     const char *wanted, uint64_t *slot, struct klp_error *e)
{
	char name[KLP_SCOPE_MAX_SYMBOL];
	int rc = klp_dso_read_rela(scope, d, t, e);

	for (size_t i = 0; i < t->count && !rc && !*slot; i++) {
		enum klp_slot_kind kind = klp_slot_kind((uint32_t)ELF64_R_TYPE(t->rela[i].r_info));
		Elf64_Sym sym;

		if (kind != KLP_SLOT_JUMP && kind != KLP_SLOT_ADDRESS)
			continue;
		rc = klp_dso_symbol(scope, d, ELF64_R_SYM(t->rela[i].r_info), &sym, name, e);
		if (!rc && !strcmp(name, wanted))
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
	rc = klp_unwinder_slot(scope, d, &d->jmprel, KLP_FIND_FDE, &u->slot, e);
	if (!rc && !u->slot)
		rc = klp_unwinder_slot(scope, d, &d->rela, KLP_FIND_FDE, &u->slot, e);
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

/* Do the object's dynamic names contain this one? Quick, and most do not. */
static int klp_unwinder_mentions(const struct klp_scope *scope, const struct klp_dso *d, const char *name,
				 struct klp_error *e)
{
	char *names;
	int rc;

	if (!d->strtab || !d->strsz || d->strsz > KLP_UNWINDER_MAX_NAMES)
		return 0;
	names = malloc((size_t)d->strsz);
	if (!names)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the names of %s", d->o->path);
	rc = klp_process_read(scope->p, d->strtab, names, (size_t)d->strsz, e);
	if (!rc)
		rc = memmem(names, (size_t)d->strsz, name, strlen(name) + 1) != NULL;
	free(names);
	return rc;
}

/* Has an object an unwinder of its own: linked in (-static-libgcc), which asks the C library by itself, or an exported
 * one (libunwind)? 1, 0, -errno. */
static int klp_unwinder_own(struct klp_scope *scope, struct klp_dso *d, struct klp_error *e)
{
	struct klp_definition def;
	uint64_t slot = 0;
	int rc = klp_unwinder_mentions(scope, d, KLP_FIND_OBJECT, e);

	if (rc > 0 && !d->o->interpreter && !d->o->libc) {
		rc = klp_unwinder_slot(scope, d, &d->jmprel, KLP_FIND_OBJECT, &slot, e);
		if (!rc && !slot)
			rc = klp_unwinder_slot(scope, d, &d->rela, KLP_FIND_OBJECT, &slot, e);
	}
	if (rc < 0 || slot)
		return rc < 0 ? rc : 1;
	rc = klp_unwinder_mentions(scope, d, KLP_RAISE, e);
	return rc > 0 ? klp_dso_lookup(scope, d, KLP_RAISE, NULL, false, &def, e) : rc;
}

int klp_unwinder_check_own(const struct klp_process *p, const struct klp_object *only, struct klp_error *e)
{
	struct klp_scope scope;
	int rc = klp_scope_open(p, &scope, e);

	for (size_t i = 0; i < p->object_count && !rc; i++) {
		const struct klp_object *o = &p->object[i];
		struct klp_dso *d =
		    o->vdso || klp_is_unwinder(o) || (only && o != only) ? NULL : klp_scope_dso(&scope, o);

		rc = d ? klp_unwinder_own(&scope, d, e) : 0;
		if (rc > 0)
			rc = klp_fail(
			    e, EOPNOTSUPP, KLP_NO_UNWIND_INFO,
			    "%s has an unwinder of its own (-static-libgcc, libunwind), which cannot be told of it",
			    o->path);
	}
	klp_scope_close(&scope);
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
