/* SPDX-License-Identifier: Apache-2.0 */
/* The object half of klp-build from end to end. */
#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tools/klp-build/objdiff/module.h"
#include "tools/klp-build/objdiff/partial.h"
#include "patchsite/patchsite.h"

/* `size` is that of `symbol`; a changed function's was `original_size`, and its name `original`, which may have another
 * of the compiler's suffixes. */
static json_t *of_function(const struct od_sec *s, const char *reason)
{
	json_t *o = json_pack("{s:s,s:s,s:s,s:I}", "symbol", od_sec_label(s), "file", s->obj->unit, "reason",
			      reason ? reason : "", "size", (json_int_t)s->obj->sym[s->sym].size);

	if (s->peer) {
		json_object_set_new(o, "original", json_string(od_sec_label(s->peer)));
		json_object_set_new(o, "original_size", json_integer((json_int_t)s->peer->obj->sym[s->peer->sym].size));
	}
	return o;
}

static void list_functions(struct od *d)
{
	json_t *changed = json_array(), *fresh = json_array(), *removed = json_array(), *data = json_array();

	for (size_t i = 0; i < d->count; i++) {
		for (size_t k = 0; k < d->after[i].sec_count; k++) {
			struct od_sec *s = &d->after[i].sec[k];

			if (s->changed && !s->included && s->sym &&
			    (s->kind == OD_DATA || s->kind == OD_RODATA || s->kind == OD_TLS))
				json_array_append_new(data,
						      json_pack("{s:s,s:s,s:s,s:s}", "symbol", od_sec_label(s), "file",
								s->obj->unit, "action", "changed", "reason",
								s->accepted ? "accepted by its author" : "refused"));
			if (!s->included || s->hot)
				continue;
			if (s->kind == OD_CODE)
				json_array_append_new(s->peer ? changed : fresh, of_function(s, s->reason));
			else if (s->kind == OD_DATA || s->kind == OD_RODATA)
				json_array_append_new(data,
						      json_pack("{s:s,s:s,s:s,s:s}", "symbol", od_sec_label(s), "file",
								s->obj->unit, "action", s->peer ? "cloned" : "new",
								"reason", s->reason ? s->reason : ""));
		}
		for (size_t k = 0; k < d->before[i].sec_count; k++) {
			struct od_sec *s = &d->before[i].sec[k];

			if (s->kind == OD_CODE && s->sym && !s->peer && !s->hot)
				json_array_append_new(removed, of_function(s, "not in the patched tree"));
		}
	}
	json_object_set_new(d->report, "changed", changed);
	json_object_set_new(d->report, "new", fresh);
	json_object_set_new(d->report, "removed", removed);
	json_object_set_new(d->report, "data", data);
}

static void analyse(struct od *d, const json_t *statements)
{
	d->statements = statements;
	od_correlate(d);
	od_compare(d);
	od_compare_exports(d);
	od_decide(d);
	od_account(d);
}

static bool has_replacement(struct od *d)
{
	for (size_t i = 0; i < d->count; i++)
		for (size_t k = 0; k < d->after[i].sec_count; k++)
			if (d->after[i].sec[k].included && d->after[i].sec[k].kind == OD_CODE &&
			    d->after[i].sec[k].peer)
				return true;
	return false;
}

static int finish(struct od *d, int result, json_t **report)
{
	*report = json_incref(d->report);
	od_end(d);
	return result;
}

int klp_objdiff_compare(const char *original_o, const char *patched_o, json_t **report, struct klp_error *e)
{
	const struct klp_unit u = {.name = patched_o, .original_o = original_o, .patched_o = patched_o};
	struct od d;
	bool exports;

	*report = NULL;
	if (od_start(&d, &u, 1, false, e)) {
		od_end(&d);
		return KLP_OBJDIFF_FAILED;
	}
	analyse(&d, NULL);
	od_refuse_unknown(&d);
	exports = od_exports_come_and_go(&d);
	list_functions(&d);
	if (json_array_size(d.refused))
		return finish(&d, KLP_OBJDIFF_REFUSED, report);
	return finish(&d, exports || has_replacement(&d) ? KLP_OBJDIFF_BUILT : KLP_OBJDIFF_NO_CHANGE, report);
}

/* The executable's copy of another object's datum is no export of its own: it comes and goes with the direct uses. */
static bool is_copy(const struct lk *l, const struct lk_sym *y)
{
	const struct lk_dynrel *rel = y->shndx ? lk_rel_at(l, y->value) : NULL;

	return rel && l->arch->modules->slot(rel->type) == OD_SLOT_COPY;
}

static bool reached_by_slot(const struct od_obj *objects, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < objects[i].sec_count; k++) {
			const struct od_sec *s = &objects[i].sec[k];

			for (size_t n = 0; n < s->rel_count; n++)
				if (od_rel_is_got(s, &s->rel[n]) && !strcmp(objects[i].sym[s->rel[n].sym].name, name))
					return true;
		}
	return false;
}

/* A global function of some unit that the program does not export: so it exports only what something asks for. */
static bool keeps_globals(const struct rs *r)
{
	for (size_t i = 0; i < r->d->global_after.size; i++) {
		const struct od_map_slot *g = &r->d->global_after.slot[i];

		if (g->name && g->def.sym->type == STT_FUNC && g->def.sym->vis == STV_DEFAULT &&
		    lk_global(&r->patched, g->name) && !lk_dynamic(&r->patched, g->name))
			return true;
	}
	return false;
}

/*
 * Some links write every global that code reaches through a slot into an executable's table of dynamic symbols. Nobody
 * asked for that export.
 */
static bool is_export_of_slot(const struct rs *r, const struct od_obj *objects, const struct lk_sym *y)
{
	bool executable = false;

	for (size_t i = 0; i < r->patched.ph_count; i++)
		executable |= r->patched.ph[i].p_type == PT_INTERP;
	return r->d->arch && r->d->arch->modules->slots_export && executable && !r->patched.soname &&
	       reached_by_slot(objects, r->d->count, y->name) && keeps_globals(r);
}

/* dlsym and other objects would not find it: the patched link must export what the original does. */
static void check_exports(struct rs *r)
{
	const struct lk *a = &r->original, *b = &r->patched;

	for (size_t i = 1; i < b->dyn_count; i++) {
		const struct lk_sym *y = &b->dyn[i], *o = lk_dynamic(a, y->name);

		if (!y->shndx || is_copy(b, y) || (o && o->shndx) || lk_global(a, y->name))
			continue;
		if (!o && is_export_of_slot(r, r->d->after, y))
			od_note(
			    r->d,
			    "%s is new, and in the patched program's table of dynamic symbols because code reaches it "
			    "through a slot; other objects will not find the module's",
			    y->name);
		else
			od_refuse(
			    r->d, y->name, ".dynsym", b->path, "make it static or hidden, or restart the program",
			    "the patched program exports a new symbol that dlsym and other objects could not find");
	}
	for (size_t i = 1; i < a->dyn_count; i++) {
		const struct lk_sym *y = &a->dyn[i], *o = lk_dynamic(b, y->name);

		if (y->shndx && !is_copy(a, y) && (!o || !o->shndx) &&
		    !(lk_global(b, y->name) && is_export_of_slot(r, r->d->before, y)))
			od_refuse(r->d, y->name, ".dynsym", b->path, "keep the export",
				  "the patched program no longer exports it");
	}
}

/* What the program exports other objects may have bound to, and pointers to it are theirs: they would keep the old one
 * (S1). */
static void check_exported_constants(struct rs *r)
{
	for (size_t i = 0; i < r->d->count; i++)
		for (size_t k = 0; k < r->d->after[i].sec_count; k++) {
			struct od_sec *s = &r->d->after[i].sec[k];
			const struct od_obj *o = s->obj;

			if (!s->included || s->kind != OD_RODATA || !s->peer || !s->changed)
				continue;
			for (size_t n = 1; n < o->sym_count && !s->refused; n++) {
				const struct od_sym *y = &o->sym[n];
				const struct lk_sym *built, *runs;

				if (y->shndx != s->index || y->bind == STB_LOCAL)
					continue;
				built = lk_dynamic(&r->original, y->name);
				runs = lk_dynamic(&r->running, y->name);
				if (((built && built->shndx) || (runs && runs->shndx)) &&
				    !od_accept(r->d, s, "other objects keep the old constant"))
					od_refuse_sec(
					    r->d, s,
					    "make it static or hidden, change the code that uses it, or state "
					    "KLP_DATA_OK of <klp/patch.h> if the old value is right for others",
					    "changed constant data is exported as %s: other objects would "
					    "keep the old one",
					    y->name);
			}
		}
}

/* A changed function that the link did not take (--gc-sections, an unused archive member) is no part of the target. */
static void drop_unlinked(struct rs *r)
{
	bool again = false;

	for (size_t i = 0; i < r->d->count; i++)
		for (size_t k = 0; k < r->d->after[i].sec_count; k++) {
			struct od_sec *s = &r->d->after[i].sec[k];

			if (!s->included || s->kind != OD_CODE || !s->peer || s->hot || !s->sym)
				continue;
			if (lk_sym_of(&r->original, s->peer->obj, &s->peer->obj->sym[s->peer->sym], 0))
				continue;
			if (r->partial && !rp_knows_unit(r, s->peer->obj)) {
				od_refuse_sec(
				    r->d, s, "give the debug file of what runs (--debug)",
				    "the running file has no symbol for it, and none that says it has the unit");
				continue;
			}
			if (s->peer->obj->group[0] == 0 && s->obj->sym[s->sym].bind == STB_LOCAL) {
				od_refuse_sec(r->d, s, "rename one of the files",
					      "several units of the linked program look like this one; it cannot be "
					      "told which is which");
				continue;
			}
			s->unlinked = again = true;
			od_note(r->d, "changed function %s is not linked into the target", od_sec_label(s));
		}
	/* what came along only for their sake goes with them */
	for (size_t i = 0; again && i < r->d->count; i++)
		for (size_t k = 0; k < r->d->after[i].sec_count; k++)
			r->d->after[i].sec[k].included = false;
	if (again)
		od_decide(r->d);
}

static char *hex(struct od_pool *p, const uint8_t *b, size_t n)
{
	char *s = od_alloc(p, 2 * n + 1, 1);

	for (size_t i = 0; i < n; i++)
		snprintf(s + 2 * i, 3, "%02x", b[i]);
	return s;
}

static const struct klp_site_list_entry *site_of(const struct klp_site_list *l, uint64_t entry)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->entry[i].entry == entry && l->entry[i].recorded)
			return &l->entry[i];
	for (size_t i = 0; i < l->count; i++)
		if (l->entry[i].entry == entry)
			return &l->entry[i];
	return NULL;
}

/*
 * gcc writes one table of patch sites for a unit and links it to the unit's first function: if --gc-sections drops that
 * function, the sites of all others go with it. NULL: the unit has no table for the function in the first place.
 */
static const char *dropped_table(struct rs *r, const struct od_sec *f)
{
	struct od_obj *o = f->obj;
	const struct od_sec *first = NULL;
	bool ours = false;

	for (size_t i = 0; i < o->sec_count && !ours; i++) {
		const struct od_sec *t = &o->sec[i];

		if (strcmp(t->name, "__patchable_function_entries") || !t->rel_count)
			continue;
		for (size_t k = 0; k < t->rel_count && !ours; k++)
			ours = o->sym[t->rel[k].sym].shndx == f->index;
		if (ours && o->sym[t->rel[0].sym].shndx < o->sec_count)
			first = &o->sec[o->sym[t->rel[0].sym].shndx];
	}
	if (!ours)
		return NULL;
	if (!first || !first->sym || lk_sym_of(&r->original, o, &o->sym[first->sym], 0))
		return "the linker dropped the unit's table of sites (--gc-sections)";
	return od_printf(&r->d->pool,
			 "the unit's table of sites was dropped by --gc-sections together with the unit's first "
			 "function, %s, which the program does not use",
			 od_sec_label(first));
}

static void add_range(json_t *ranges, uint64_t from, uint64_t size)
{
	json_array_append_new(ranges, json_pack("[I,I]", (json_int_t)from, (json_int_t)(from + size)));
}

/* The function that a link put at the same address: no alias that the unit itself gives it, and not itself. NULL: none.
 */
static const char *folded_with(const struct lk *l, const struct od_sec *before, uint64_t addr)
{
	const struct od_obj *o = before->obj;
	unsigned statics = 0;

	for (size_t i = 1; i < l->sym_count; i++) {
		const struct lk_sym *x = &l->sym[i];
		bool ours = false;

		if (x->value != addr || x->type != STT_FUNC || !x->shndx)
			continue;
		for (size_t k = 1; !ours && k < o->sym_count; k++)
			ours = o->sym[k].shndx == before->index && !strcmp(o->sym[k].name, x->name);
		if (!ours && strchr(x->name, '@') == NULL)
			return x->name;
		/* a static function of the same name in another unit */
		if (ours && x->bind == STB_LOCAL && !strcmp(x->name, o->sym[before->sym].name) && ++statics > 1)
			return x->name;
	}
	return NULL;
}

/* One function that the module replaces: where it is, that it is the same there, and that it has a site. */
static json_t *describe(struct rs *r, struct od_sec *s, const struct klp_site_list *sites)
{
	struct od_sec *before = s->peer;
	struct od_obj *o = before->obj;
	const struct lk_sym *y = lk_sym_of(&r->original, o, &o->sym[before->sym], 0);
	const struct klp_site_list_entry *site;
	struct klp_site_list_entry here;
	const char *with;
	const struct lk_sym *dyn;
	json_t *ranges;
	uint64_t at, recorded;
	const uint8_t *bytes;
	uint8_t digest[SHA256_DIGEST_LENGTH];
	SHA2_CTX sha;

	if (!y || !rs_running_address(r, y, s, &at) || !rs_check_equal(r, before, y, at))
		return NULL;
	site = r->partial ? rp_site(r, y, &here) : site_of(sites, y->value);
	if ((!site || site->reason == KLP_NO_SITE) && dropped_table(r, before)) {
		od_refuse_sec(r->d, s, "link the target with -Wl,--no-gc-sections; docs/patch-author-guide.md has more",
			      "the function has no site: %s", dropped_table(r, before));
		return NULL;
	}
	if (!site || site->reason != KLP_OK) {
		od_refuse_sec(r->d, s, "build the target with klp's flags (pkg-config --cflags klp)",
			      "the function has no usable patch site: %s",
			      klp_reason_name(site ? site->reason : KLP_NO_SITE));
		return NULL;
	}
	recorded = at - (site->entry - site->recorded);
	if (!lk_recorded(&r->running, recorded)) {
		od_refuse_sec(r->d, s, "build the target with klp's flags (pkg-config --cflags klp)",
			      "the running file does not record a patch site for the function: %s",
			      klp_reason_name(KLP_NO_SITE));
		return NULL;
	}
	with = folded_with(&r->original, before, y->value);
	if (!with && r->names)
		with = folded_with(r->names, before, at);
	if (with) {
		od_refuse_sec(r->d, s, "link without --icf", "the linker folded it with %s", with);
		return NULL;
	}
	bytes = lk_bytes(&r->running, at, y->size);
	if (!bytes || !y->size) {
		od_refuse_sec(r->d, s, "", "it has no bytes in the running file");
		return NULL;
	}
	SHA256Init(&sha);
	SHA256Update(&sha, bytes, y->size);
	SHA256Final(digest, &sha);
	ranges = json_array();
	add_range(ranges, at, y->size);
	for (size_t k = 0; k < o->sec_count; k++) {
		struct od_sec *c = &o->sec[k];
		const struct lk_sym *cy;
		uint64_t ca;

		if (c->hot != before)
			continue;
		cy = lk_sym_of(&r->original, o, &o->sym[c->sym], 0);
		if (!cy || !rs_running_address(r, cy, s, &ca) || !rs_check_equal(r, c, cy, ca)) {
			json_decref(ranges);
			od_refuse_sec(r->d, s, "", "its cold part is not in the running file as in the rebuild");
			return NULL;
		}
		add_range(ranges, ca, cy->size);
	}
	dyn = lk_dynamic(&r->running, y->name);
	return json_pack("{s:s,s:s,s:i,s:I,s:I,s:I,s:b,s:o,s:s,s:s}", "name", y->name, "file", y->file, "sympos",
			 (int)lk_sympos(&r->original, y), "address", (json_int_t)at, "size", (json_int_t)y->size,
			 "recorded", (json_int_t)recorded, "exported", y->bind != STB_LOCAL && dyn && dyn->shndx,
			 "ranges", ranges, "replacement", om_function_name(r->d, s), "digest",
			 hex(&r->d->pool, digest, sizeof(digest)));
}

static bool leads_to(const struct rs *r, const struct od_sec *from, const struct od_sec *to)
{
	for (size_t i = 0; i < from->rel_count; i++)
		if (od_resolve(&r->d->global_before, from, &from->rel[i]).sec == to)
			return true;
	return false;
}

/*
 * A function of the unit that calls what is replaced may rely on what the compiler saw of it (S8: the registers that it
 * leaves alone, that it reads or writes no memory, its results' range). If that is another with the change, the
 * caller's code is another as well and it is in the module, but only if it runs as it was rebuilt.
 */
static void check_callers(struct rs *r, const struct od_sec *callee)
{
	struct od_obj *o = callee->obj;

	for (size_t i = 0; i < o->sec_count; i++) {
		struct od_sec *c = &o->sec[i];
		const struct lk_sym *y;
		uint64_t at;

		if (c == callee || c->kind != OD_CODE || !c->sym || (c->peer && c->peer->included) ||
		    !leads_to(r, c, callee))
			continue;
		y = lk_sym_of(&r->original, o, &o->sym[c->sym], 0);
		if (y && rs_running_address(r, y, c, &at) && rs_check_equal(r, c, y, at))
			continue;
		if (y)
			od_note(r->d, "%s calls %s, which is replaced, and may rely on what the compiler knew of it",
				od_sec_label(c), od_sec_label(callee));
	}
}

static json_t *describe_all(struct rs *r, bool *coupled, bool *exceptions, struct klp_error *e)
{
	json_t *functions = json_array();
	struct klp_site_list sites = {.count = 0};

	*coupled = *exceptions = false;
	if (!r->partial && klp_site_list_file(r->original.path, &sites, e)) {
		json_decref(functions);
		return NULL;
	}
	for (size_t i = 0; i < r->d->count; i++)
		for (size_t k = 0; k < r->d->after[i].sec_count; k++) {
			struct od_sec *s = &r->d->after[i].sec[k];
			json_t *f;

			if (!s->included)
				continue;
			if (s->kind == OD_EXCEPT || s->obj->cplusplus)
				*exceptions = true;
			if (s->kind == OD_CODE && s->sym && od_has_clone_suffix(od_sec_label(s)))
				*coupled = true;
			if (s->kind != OD_CODE || !s->peer || s->hot)
				continue;
			f = describe(r, s, &sites);
			if (!f)
				continue;
			json_array_append_new(functions, f);
			check_callers(r, s->peer);
		}
	klp_site_list_free(&sites);
	if (json_array_size(functions) > 1)
		*coupled = true;
	return functions;
}

int om_write(const char *path, const uint8_t *image, size_t len, struct klp_error *e)
{
	char tmp[4096];
	int fd;

	if (snprintf(tmp, sizeof(tmp), "%s.tmp", path) >= (int)sizeof(tmp))
		return klp_fail(e, ENAMETOOLONG, KLP_USAGE, "the output's name is too long");
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return klp_fail(e, errno, KLP_IO, "%s: %s", tmp, strerror(errno));
	while (len) {
		ssize_t n = write(fd, image, len);

		if (n <= 0) {
			int err = n ? errno : EIO;

			close(fd);
			unlink(tmp);
			return klp_fail(e, err, KLP_IO, "%s: %s", tmp, strerror(err));
		}
		image += n;
		len -= (size_t)n;
	}
	if (close(fd) || rename(tmp, path)) {
		int err = errno;

		unlink(tmp);
		return klp_fail(e, err, KLP_IO, "%s: %s", path, strerror(err));
	}
	return 0;
}

static const char *base_of(const char *path)
{
	const char *s = strrchr(path, '/');

	return s ? s + 1 : path;
}

static int build(struct rs *r, const struct klp_objdiff_input *in, struct klp_error *e)
{
	struct od *d = r->d;
	bool coupled, exceptions;
	json_t *functions, *meta, *escapes, *object, *callbacks, *states;
	uint8_t *image = NULL;
	size_t len = 0;
	int rc;

	functions = describe_all(r, &coupled, &exceptions, e);
	if (!functions)
		return KLP_OBJDIFF_FAILED;
	escapes = json_array();
	callbacks = od_callbacks(d);
	states = od_states(d);
	object =
	    json_pack("{s:s,s:s,s:o}", "name", r->running.soname ? r->running.soname : base_of(in->running), "build_id",
		      hex(&d->pool, r->running.build_id, r->running.build_id_len), "functions", functions);
	if (json_object_size(callbacks))
		json_object_set(object, "callbacks", callbacks);
	meta = json_pack("{s:i,s:s,s:s,s:s,s:s,s:s,s:b,s:b,s:o,s:o,s:[o],s:O,s:O}", "format", 1, "name", in->patch_name,
			 "description", in->description ? in->description : "", "arch", d->arch->name, "built_with",
			 d->count && d->after[0].producer ? d->after[0].producer : "", "klp_version", KLP_VERSION,
			 "coupled", coupled, "exceptions", exceptions, "escapes", escapes, "labels",
			 in->labels ? json_deep_copy(in->labels) : json_array(), "objects", object, "symbols",
			 r->symbols, "notes", d->notes);
	if (json_array_size(states))
		json_object_set(meta, "states", states);
	json_decref(callbacks);
	json_decref(states);
	if (!meta) {
		klp_fail(e, EINVAL, KLP_INTERNAL, "the metadata could not be made (a name that is not UTF-8?)");
		return KLP_OBJDIFF_FAILED;
	}
	json_object_set_new(d->report, "metadata", meta);
	rc = om_build(r, escapes, meta, &image, &len, e);
	if (json_array_size(d->refused)) {
		json_object_del(d->report, "metadata");
		return KLP_OBJDIFF_REFUSED;
	}
	if (rc || !image || (!in->dry_run && om_write(in->output, image, len, e)))
		return KLP_OBJDIFF_FAILED;
	return KLP_OBJDIFF_BUILT;
}

int klp_objdiff_run(const struct klp_objdiff_input *in, json_t **report, struct klp_error *e)
{
	struct rs r = {.symbols = NULL};
	struct od d;
	int rc;

	*report = NULL;
	rc = od_start(&d, in->units, in->unit_count, !in->original_linked, e);
	if (!rc && in->original_linked)
		analyse(&d, in->statements);
	if (rc || rs_start(&r, &d, in, e)) {
		json_decref(r.symbols);
		od_end(&d);
		return KLP_OBJDIFF_FAILED;
	}
	if (r.partial) {
		rp_find_outside(&r);
		analyse(&d, in->statements);
	}
	if (r.partial)
		rp_check_exports(&r);
	else
		check_exports(&r);
	drop_unlinked(&r);
	check_exported_constants(&r);
	if (r.partial)
		rp_check_constants(&r);
	list_functions(&d);
	if (!has_replacement(&d) && od_has_authored(&d))
		od_refuse(&d, "", "", "", "let the diff change the function that the fix is about",
			  "the patch has callbacks or states, but replaces no function");
	if (!has_replacement(&d) && !json_array_size(d.refused))
		rc = KLP_OBJDIFF_NO_CHANGE;
	else if (json_array_size(d.refused))
		rc = KLP_OBJDIFF_REFUSED;
	else
		rc = build(&r, in, e);
	json_decref(r.symbols);
	return finish(&d, rc, report);
}

int klp_objdiff_misfits(const char *object, const char *running, const char *debug, struct klp_error *e)
{
	const struct klp_unit u = {.name = object, .original_o = object};
	const struct klp_objdiff_input in = {.running = running, .debug = debug};
	struct rs r = {.symbols = NULL};
	struct od d;
	int misfits = -1;

	if (!od_start(&d, &u, 1, true, e) && !rs_start(&r, &d, &in, e)) {
		misfits = 0;
		od_correlate(&d);
		for (size_t i = 0; i < d.before[0].sec_count; i++) {
			struct od_sec *s = &d.before[0].sec[i];
			const struct lk_sym *y = s->kind == OD_CODE && s->sym
						     ? lk_sym_of(&r.original, s->obj, &s->obj->sym[s->sym], 0)
						     : NULL;

			misfits += y && !rs_check_equal(&r, s, y, y->value);
		}
	}
	json_decref(r.symbols);
	od_end(&d);
	return misfits;
}
