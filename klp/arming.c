/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/arming.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "klp/gone.h"
#include "klp/machine.h"
#include "plt/plt.h"

static void klp_site_from_record(unsigned arch, const struct klp_rt_site *rt, struct klp_site *site)
{
	klp_site_restore(arch, (enum klp_site_layout)rt->layout, rt->entry, rt->body, rt->prefix, rt->prefix_len, site);
}

void klp_site_set_free(struct klp_site_set *set)
{
	free(set->site);
	set->site = NULL;
	set->count = 0;
}

struct klp_armed_site *klp_site_find(struct klp_site_set *set, uint64_t record)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->site[i].record == record)
			return &set->site[i];
	return NULL;
}

int klp_sites_read(struct klp_session *s, struct klp_site_set *out, struct klp_error *e)
{
	struct klp_rt_site *buf;
	size_t room = 0;
	int rc = 0;

	out->site = NULL;
	out->count = 0;
	if (!s->cb)
		return 0;
	buf = malloc(KLP_ARENA_SITES * sizeof(*buf));
	if (!buf)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for site records");
	for (unsigned i = 0; i < KLP_MAX_ARENAS && !rc; i++) {
		uint64_t at = s->cb->arenas[i] + sizeof(struct klp_rt_arena);

		if (!s->cb->arenas[i])
			continue;
		rc = klp_process_read(&s->p, at, buf, KLP_ARENA_SITES * sizeof(*buf), e);
		for (unsigned k = 0; k < KLP_ARENA_SITES && !rc; k++) {
			struct klp_armed_site *grown, *a;

			if (!buf[k].used)
				continue;
			if (buf[k].prefix_len > sizeof(buf[k].prefix_old) || buf[k].body <= buf[k].entry ||
			    buf[k].body - buf[k].entry > 64 || buf[k].prefix >= buf[k].entry) {
				rc = klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "site record %u of arena %u makes no sense",
					      k, i);
				break;
			}
			if (out->count == room) {
				room = room ? room * 2 : 64;
				grown = realloc(out->site, room * sizeof(*grown));
				if (!grown) {
					rc = klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for site records");
					break;
				}
				out->site = grown;
			}
			a = &out->site[out->count++];
			a->record = at + k * sizeof(*buf);
			a->rt = buf[k];
			a->arena = i;
			a->gone = a->fresh = false;
			klp_site_from_record(s->p.machine, &a->rt, &a->site);
		}
	}
	free(buf);
	if (rc)
		klp_site_set_free(out);
	return rc;
}

int klp_site_read_state(struct klp_session *s, const struct klp_armed_site *a, enum klp_site_state *state, size_t *done,
			struct klp_error *e)
{
	uint8_t bytes[8];
	int rc;

	if (klp_site_is_gone(s, a)) {
		*state = KLP_STATE_GONE;
		*done = 0;
		return 0;
	}
	rc = klp_process_read(&s->p, a->site.entry, bytes, sizeof(bytes), e);
	if (!rc)
		*state = klp_site_state(s->p.machine, &a->site, bytes, sizeof(bytes), done);
	return rc;
}

uint64_t klp_session_near(struct klp_session *s, const struct klp_object *o, uint64_t size, struct klp_error *e)
{
	struct klp_gap_map *map = calloc(s->p.map_count + 1, sizeof(*map));
	struct klp_gap_query q = {
	    .map = map,
	    .count = s->p.map_count,
	    .object_start = o->start,
	    .object_end = o->end,
	    .brk_start = s->p.brk_start,
	    .brk_end = s->p.brk_end,
	    .size = size,
	    .reach = KLP_NEAR_REACH,
	    .page = 4096,
	    .min_addr = 65536,
	    .max_addr = KLP_USER_END,
	    .stack_guard = s->p.stack_limit == UINT64_MAX ? 1ull << 30 : s->p.stack_limit + (1ull << 20),
	};
	uint64_t addr;

	if (!map) {
		klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the mapping list");
		return 0;
	}
	for (size_t i = 0; i < s->p.map_count; i++)
		map[i] = (struct klp_gap_map){s->p.map[i].start, s->p.map[i].end, s->p.map[i].grows_down};
	addr = klp_near_find(&q);
	free(map);
	if (!addr)
		/* Not by its path, which belonged to the list of mappings as it was before it was read again. */
		klp_fail(e, ENOMEM, KLP_NO_ROOM, "no %llu free bytes within reach of the object at 0x%llx",
			 (unsigned long long)size, (unsigned long long)o->start);
	return addr;
}

/* A new arena near the object; its index. */
static int klp_arena_make(struct klp_session *s, const struct klp_object *o, struct klp_error *e)
{
	struct klp_rt_arena head = {0};
	uint64_t stubs, data;
	unsigned i, n;
	int rc;

	for (i = 0; i < KLP_MAX_ARENAS && s->cb->arenas[i]; i++)
		;
	if (i == KLP_MAX_ARENAS)
		return klp_fail(e, ENOSPC, KLP_LIMIT, "all %u arenas are in use", KLP_MAX_ARENAS);
	for (n = 0; n < KLP_NEAR_TRIES; n++) {
		struct klp_error second = KLP_ERROR_INIT;
		int first;

		stubs = klp_session_near(s, o, KLP_ARENA_STUBS_SIZE + KLP_ARENA_DATA_SIZE, e);
		if (!stubs)
			return -e->err;
		data = stubs + KLP_ARENA_STUBS_SIZE;
		rc = first =
		    klp_remote_map(&s->r, stubs, KLP_ARENA_STUBS_SIZE, PROT_READ | PROT_EXEC, KLP_OWNER_ARENA + i, e);
		if (rc >= 0)
			rc = klp_remote_map(&s->r, data, KLP_ARENA_DATA_SIZE, PROT_READ | PROT_WRITE,
					    KLP_OWNER_ARENA + i, e);
		if (rc != -EEXIST)
			break;
		/* The program mapped something there meanwhile. */
		if ((first >= 0 && klp_remote_unmap(&s->r, (unsigned)first, &second)) ||
		    klp_process_refresh(&s->p, &second)) {
			*e = second;
			return -second.err;
		}
	}
	if (rc < 0)
		return rc;
	head.stubs = stubs;
	head.stubs_len = KLP_ARENA_STUBS_SIZE;
	head.trampoline = s->r.image + s->r.hdr.trampoline;
	rc = klp_process_write(&s->p, data, &head, sizeof(head), e);
	if (!rc)
		rc = klp_session_write_cb(s, offsetof(struct klp_rt_cb, arena_object) + i * 8, &o->start, 8, e);
	if (!rc)
		rc = klp_session_write_cb(s, offsetof(struct klp_rt_cb, arenas) + i * 8, &data, 8, e);
	if (!rc)
		rc = klp_process_refresh(&s->p, e);
	return rc ? rc : (int)i;
}

/* A free record in an arena of this object: its address and index. */
static int klp_arena_slot(struct klp_session *s, const struct klp_object *o, unsigned *arena, unsigned *slot,
			  struct klp_error *e)
{
	struct klp_rt_site *buf = malloc(KLP_ARENA_SITES * sizeof(*buf));
	int rc = 0;

	if (!buf)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for site records");
	for (unsigned i = 0; i < KLP_MAX_ARENAS && !rc; i++) {
		if (!s->cb->arenas[i] || s->cb->arena_object[i] != o->start)
			continue;
		rc = klp_process_read(&s->p, s->cb->arenas[i] + sizeof(struct klp_rt_arena), buf,
				      KLP_ARENA_SITES * sizeof(*buf), e);
		for (unsigned k = 0; k < KLP_ARENA_SITES && !rc; k++) {
			if (!buf[k].used) {
				*arena = i;
				*slot = k;
				free(buf);
				return 0;
			}
		}
	}
	free(buf);
	if (rc)
		return rc;
	rc = klp_arena_make(s, o, e);
	if (rc < 0)
		return rc;
	*arena = (unsigned)rc;
	*slot = 0;
	return 0;
}

int klp_site_get(struct klp_session *s, const struct klp_object *o, const struct klp_module_function *fn,
		 struct klp_armed_site *out, struct klp_error *e)
{
	uint64_t entry = o->bias + fn->address, recorded = fn->recorded ? o->bias + fn->recorded : 0, from, stub,
		 arena_addr, prefix_at, original;
	uint8_t code[256], stub_code[KLP_STUB_SIZE], prefix[KLP_PREFIX_MAX];
	struct klp_site_set all;
	unsigned arena = 0, slot = 0;
	size_t prefix_len;
	int rc;

	rc = klp_sites_read(s, &all, e);
	if (rc)
		return rc;
	for (size_t i = 0; i < all.count; i++) {
		if (all.site[i].rt.entry == entry) {
			*out = all.site[i];
			klp_site_set_free(&all);
			return 0;
		}
	}
	klp_site_set_free(&all);

	from = recorded && recorded < entry ? recorded : entry;
	if (entry - from > sizeof(code) - 32)
		return klp_fail(e, EINVAL, KLP_BAD_FUNCTION, "%s: its recorded patch site is %llu bytes away", fn->name,
				(unsigned long long)(entry - from));
	rc = klp_process_read(&s->p, from, code, (size_t)(entry - from) + 16, e);
	if (rc)
		return rc;
	memset(out, 0, sizeof(*out));
	klp_site_hide_probe(s->p.machine, code, (size_t)(entry - from) + 16, (size_t)(entry - from));
	rc = klp_site_decode(s->p.machine, entry, recorded, code, from, (size_t)(entry - from) + 16, &out->site, e);
	if (rc)
		return rc;
	rc = klp_arena_slot(s, o, &arena, &slot, e);
	if (rc)
		return rc;
	arena_addr = s->cb->arenas[arena];
	stub = arena_addr - KLP_ARENA_STUBS_SIZE + slot * KLP_STUB_SIZE;
	original = klp_stub_original(s->p.machine, stub, out->site.body);
	out->arena = arena;
	out->record = arena_addr + sizeof(struct klp_rt_arena) + slot * sizeof(struct klp_rt_site);
	rc = klp_stub_encode(s->p.machine, stub, out->record, arena_addr + offsetof(struct klp_rt_arena, trampoline),
			     out->site.body, stub_code, sizeof(stub_code), e);
	if (!rc)
		rc = klp_prefix_encode(s->p.machine, &out->site, out->record, stub + KLP_HOP_OFFSET, prefix, &prefix_at,
				       &prefix_len, e);
	if (rc)
		return rc;
	if (prefix_len > sizeof(out->rt.prefix_old))
		return klp_fail(e, EINVAL, KLP_INTERNAL, "%s: a PLT entry of %zu bytes", fn->name, prefix_len);
	if (prefix_at < from)
		return klp_fail(e, EINVAL, KLP_PREFIX_TOO_SMALL, "%s: its PLT entry would begin before its prefix",
				fn->name);
	out->rt = (struct klp_rt_site){
	    .slot = original,
	    .ops = s->r.image + s->r.hdr.ops_livepatch,
	    .cb = s->r.cb,
	    .pc = {original, original, original, original},
	    .original = original,
	    .entry = entry,
	    .body = out->site.body,
	    .stub = stub,
	    .prefix = prefix_at,
	    .layout = (uint8_t)out->site.layout,
	    .prefix_len = (uint8_t)prefix_len,
	    .entry_size = (uint32_t)fn->size,
	};
	memcpy(out->rt.prefix_old, code + (prefix_at - from), prefix_len);
	out->fresh = true;
	klp_site_from_record(s->p.machine, &out->rt, &out->site);
	rc = klp_remote_write_text(&s->r, stub, stub_code, sizeof(stub_code), e);
	if (!rc)
		rc = klp_process_write(&s->p, out->record, &out->rt, sizeof(out->rt), e);
	out->rt.used = 1; /* published last: a record in use is a complete one */
	if (!rc)
		rc = klp_process_write(&s->p, out->record + offsetof(struct klp_rt_site, used), &out->rt.used, 1, e);
	return rc;
}

/* What the prefix must hold before it is written (dormant NOPs) and after. */
static int klp_prefix_check(struct klp_session *s, const struct klp_armed_site *a, uint8_t now[KLP_PREFIX_MAX],
			    bool *written, struct klp_error *e)
{
	uint8_t want[KLP_PREFIX_MAX];
	uint64_t at;
	size_t len;
	int rc = klp_prefix_encode(s->p.machine, &a->site, a->record, a->rt.stub + KLP_HOP_OFFSET, want, &at, &len, e);

	if (rc)
		return rc;
	if (at != a->rt.prefix || len != a->rt.prefix_len)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "the site record of 0x%llx does not fit its PLT entry",
				(unsigned long long)a->rt.entry);
	rc = klp_process_read(&s->p, at, now, len, e);
	if (rc)
		return rc;
	*written = !memcmp(now, want, len);
	/* A tool killed inside its write leaves a part of the PLT entry; nobody executes it before the site is armed.
	 */
	for (size_t i = 0; i < len; i++)
		if (now[i] != want[i] && now[i] != a->rt.prefix_old[i])
			return klp_fail(e, EBUSY, KLP_SITE_TAKEN,
					"the prefix of the function at 0x%llx holds somebody else's bytes",
					(unsigned long long)a->rt.entry);
	memcpy(now, want, len);
	return 0;
}

/* S2 at one site: -EBUSY for bytes that are nobody's. */
static int klp_site_check(struct klp_session *s, const struct klp_armed_site *a, enum klp_site_state *now,
			  struct klp_error *e)
{
	enum klp_site_state state;
	size_t done;
	int rc = klp_site_read_state(s, a, &state, &done, e);

	*now = state;
	if (rc)
		return rc;
	if (state == KLP_STATE_FOREIGN || state == KLP_STATE_BYPASSED)
		return klp_fail(e, EBUSY, KLP_SITE_TAKEN,
				"the patch site of the function at 0x%llx is taken: a debugger's breakpoint, a uprobe "
				"or another tracer",
				(unsigned long long)a->rt.entry);
	return 0;
}

static int klp_site_store_one(struct klp_session *s, const struct klp_site_store *st, struct klp_error *e)
{
	uint8_t now[KLP_SITE_STORE_MAX];
	int rc = klp_process_read(&s->p, st->addr, now, st->width, e);

	if (rc)
		return rc;
	if (!memcmp(now, st->value, st->width))
		return 0;
	for (unsigned i = 0; i < st->width; i++)
		if (now[i] != st->expect[i])
			return klp_fail(e, EBUSY, KLP_SITE_TAKEN,
					"the byte at 0x%llx is 0x%02x, expected 0x%02x: somebody else patches there",
					(unsigned long long)st->addr + i, now[i], st->expect[i]);
	return klp_remote_write_text(&s->r, st->addr, st->value, st->width, e);
}

/* Store k of every site, then one core sync: every single store of a site's sequence is followed by one (invariant S3).
 */
static int klp_sites_store(struct klp_session *s, struct klp_armed_site *site, size_t count, bool arm,
			   struct klp_error *e)
{
	struct klp_site_store st[KLP_SITE_MAX_STORES];
	bool more = true;
	int rc;

	for (size_t k = 0; more && k < KLP_SITE_MAX_STORES; k++) {
		more = false;
		for (size_t i = 0; i < count; i++) {
			size_t n = arm ? klp_site_arm_stores(s->p.machine, &site[i].site, st)
				       : klp_site_disarm_stores(s->p.machine, &site[i].site, st);

			if (k >= n || site[i].gone)
				continue;
			more = true;
			rc = klp_site_store_one(s, &st[k], e);
			if (rc)
				return rc;
		}
		if (more) {
			rc = klp_remote_sync(&s->r, e);
			if (rc)
				return rc;
		}
	}
	return 0;
}

/*
 * -EBUSY if a prefix does not hold what was written there: the program has closed the object and opened it again at
 * this place. Each prefix is written once, so that if all of them hold it now, every store since the first went to the
 * same mapping.
 */
static int klp_sites_stayed(struct klp_session *s, const struct klp_armed_site *site, size_t count, struct klp_error *e)
{
	uint8_t plt[KLP_PREFIX_MAX];
	bool written;

	for (size_t i = 0; i < count; i++) {
		int rc = klp_prefix_check(s, &site[i], plt, &written, e);

		if (!rc && !written)
			rc =
			    klp_fail(e, EBUSY, KLP_BUSY,
				     "the program has closed and opened the object of the function at 0x%llx meanwhile",
				     (unsigned long long)site[i].rt.entry);
		if (rc)
			return rc;
	}
	return 0;
}

/* A site without its PLT entry is a loop: whoever calls the function stays in it until the site is as it was. */
static void klp_sites_unloop(struct klp_session *s, struct klp_armed_site *site, size_t count)
{
	struct klp_error ignored = KLP_ERROR_INIT;

	for (size_t i = 0; i < count; i++)
		if (klp_sites_stayed(s, &site[i], 1, &ignored))
			klp_sites_store(s, &site[i], 1, false, &ignored);
}

int klp_sites_arm(struct klp_session *s, struct klp_armed_site *site, size_t count, struct klp_error *e)
{
	enum klp_site_state state;
	uint8_t plt[KLP_PREFIX_MAX];
	int rc;

	for (size_t i = 0; i < count; i++) { /* all checks before the first store */
		bool written;

		rc = klp_site_check(s, &site[i], &state, e);
		if (!rc && state == KLP_STATE_GONE)
			rc = klp_fail(e, EBUSY, KLP_BUSY,
				      "another patch of the function at 0x%llx is loaded for a mapping that the "
				      "program has closed: unload it first",
				      (unsigned long long)site[i].rt.entry);
		if (!rc)
			rc = klp_prefix_check(s, &site[i], plt, &written, e);
		if (rc)
			return rc;
	}
	for (size_t i = 0; i < count; i++) {
		bool written;

		rc = klp_prefix_check(s, &site[i], plt, &written, e);
		if (!rc && !written)
			rc = klp_remote_write_text(&s->r, site[i].rt.prefix, plt, site[i].rt.prefix_len, e);
		if (rc)
			return rc;
	}
	rc = klp_remote_sync(&s->r, e); /* S3: the prefixes are complete on every core before a site leads there */
	if (!rc)
		rc = klp_sites_stayed(s, site, count, e);
	if (rc)
		return rc;
	rc = klp_sites_store(s, site, count, true, e);
	if (!rc)
		rc = klp_sites_stayed(s, site, count, e);
	if (rc)
		klp_sites_unloop(s, site, count);
	return rc;
}

int klp_sites_disarm(struct klp_session *s, struct klp_armed_site *site, size_t count, struct klp_error *e)
{
	enum klp_site_state state;
	int rc;

	for (size_t i = 0; i < count; i++) {
		rc = klp_site_check(s, &site[i], &state, e);
		if (rc)
			return rc;
		site[i].gone = state == KLP_STATE_GONE;
	}
	return klp_sites_store(s, site, count, false, e);
}

int klp_sites_forget(struct klp_session *s, struct klp_armed_site *site, size_t count, struct klp_error *e)
{
	uint8_t plt[KLP_PREFIX_MAX];
	bool written;
	int rc = 0;

	for (size_t i = 0; i < count && !rc; i++) {
		if (site[i].gone)
			continue;
		rc = klp_prefix_check(s, &site[i], plt, &written, e); /* S2 */
		if (!rc)
			rc = klp_remote_write_text(&s->r, site[i].rt.prefix, site[i].rt.prefix_old,
						   site[i].rt.prefix_len, e);
	}
	if (!rc && count)
		rc = klp_remote_sync(&s->r, e);
	for (size_t i = 0; i < count && !rc; i++) {
		site[i].rt.used = 0;
		rc = klp_process_write(&s->p, site[i].record + offsetof(struct klp_rt_site, used), &site[i].rt.used, 1,
				       e);
	}
	return rc;
}
