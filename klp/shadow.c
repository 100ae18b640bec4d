/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/shadow.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "klp/arming.h"
#include "klp/permit.h"

#define KLP_SHADOW_LOCKED_SIZE (4ull << 20) /* of a process that locks its memory: every page of it is made at once */
#define KLP_SHADOW_CHUNK 2048u              /* slots read at a time */

static bool klp_shadow_needed(const struct klp_module *m)
{
	for (size_t i = 0; i < m->symbol_count; i++)
		if (m->symbol[i].how == KLP_SYM_RUNTIME)
			return true;
	return false;
}

static uint64_t klp_shadow_size(const struct klp_process *p)
{
	unsigned long locked = 0;
	char line[128];
	FILE *f;

	snprintf(line, sizeof(line), "/proc/%d/task/%d/status", p->pid, p->live_tid);
	f = fopen(line, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmLck: %lu", &locked) == 1)
			break;
	if (f)
		fclose(f);
	return locked ? KLP_SHADOW_LOCKED_SIZE : KLP_SHADOW_AREA_MAX;
}

/* The record's number in maps, or -errno. */
static int klp_shadow_map(struct klp_session *s, const struct klp_object *o, uint64_t *addr, uint64_t *size,
			  struct klp_error *e)
{
	struct klp_object object = *o; /* the array is read again below */
	int rc = -ENOMEM;

	for (unsigned n = 0; n < KLP_NEAR_TRIES && *size >= KLP_SHADOW_AREA_MIN; n++) {
		struct klp_error refresh = KLP_ERROR_INIT;

		*addr = klp_session_near(s, &object, *size, e);
		rc = *addr ? klp_remote_map(&s->r, *addr, *size, PROT_READ | PROT_WRITE, KLP_OWNER_SHADOW, e) : -e->err;
		if (rc >= 0)
			return rc;
		if (rc == -ENOMEM || rc == -EAGAIN)
			*size /= 2; /* a limit of the process, or no room */
		else if (rc != -EEXIST)
			return rc;
		if (klp_process_refresh(&s->p, &refresh)) {
			*e = refresh;
			return -refresh.err;
		}
	}
	return rc;
}

int klp_shadow_prepare(struct klp_session *s, const struct klp_module *m, const struct klp_object *o,
		       struct klp_error *e)
{
	uint64_t addr, size = klp_shadow_size(&s->p);
	struct klp_rt_op op[4] = {{0}};
	int rc;

	if (!klp_shadow_needed(m) || s->cb->shadow)
		return 0;
	rc = klp_permit_calls(&s->r, KLP_SECCOMP_SHADOW, e);
	if (!rc)
		rc = klp_shadow_drop(s, e); /* what a killed tool left unfinished */
	if (rc)
		return rc;
	rc = klp_shadow_map(s, o, &addr, &size, e);
	if (rc < 0)
		return rc;
	/* Without huge pages: a variable costs a page and not 2 MiB. Kernels without them say EINVAL. */
	op[0] = (struct klp_rt_op){.code = KLP_OP_SYSCALL, .a = {SYS_madvise, addr, size, MADV_NOHUGEPAGE}};
	op[1] = (struct klp_rt_op){.code = KLP_OP_SYSCALL,
				   .a = {SYS_madvise, addr + KLP_SHADOW_PAGE, KLP_SHADOW_PAGE, MADV_WIPEONFORK}};
	rc = klp_remote_run(&s->r, op, 2, e);
	if (!rc && op[1].result < 0)
		rc = klp_fail(e, (int)-op[1].result, KLP_UNSUPPORTED, "madvise(MADV_WIPEONFORK) in process %d: %s",
			      s->p.pid, strerror((int)-op[1].result));
	if (rc)
		return rc;
	/* The last store publishes it; a helper executes a request to its end. */
	klp_op_store(&op[0], addr + offsetof(struct klp_rt_shadow, used), KLP_SHADOW_FIRST);
	klp_op_store(&op[1], addr + offsetof(struct klp_rt_shadow, size), size);
	klp_op_store(&op[2], s->r.cb + offsetof(struct klp_rt_cb, shadow), addr);
	rc = klp_remote_run(&s->r, op, 3, e);
	if (!rc)
		rc = klp_process_refresh(&s->p, e);
	return rc ? rc : klp_session_read_cb(s, e);
}

int klp_shadow_call(const struct klp_session *s, const char *name, uint64_t *addr, struct klp_error *e)
{
	static const char *const known[KLP_SHADOW_CALLS] = KLP_SHADOW_CALL_NAMES;

	for (size_t i = 0; i < KLP_SHADOW_CALLS; i++)
		if (!strcmp(known[i], name)) {
			*addr = s->r.image + s->r.hdr.shadow[i];
			return 0;
		}
	return klp_fail(e, ENOENT, KLP_NO_SYMBOL, "klp's runtime has no %s: the module needs a newer klp", name);
}

static int klp_shadow_senseless(const struct klp_session *s, struct klp_error *e)
{
	return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "the shadow variables of process %d make no sense", s->p.pid);
}

/* One table: all of it, for a fork's child may have been born between a count and what it counts. */
static int klp_shadow_count_table(const struct klp_session *s, uint64_t at, uint64_t slots, uint32_t incarnation,
				  size_t *count, struct klp_error *e)
{
	struct klp_rt_shadow_slot *slot = calloc(KLP_SHADOW_CHUNK, sizeof(*slot));
	int rc = slot ? 0 : klp_fail(e, ENOMEM, KLP_NOMEM, "no memory to count shadow variables");

	for (uint64_t i = 0; i < slots && !rc; i += KLP_SHADOW_CHUNK) {
		size_t n = slots - i < KLP_SHADOW_CHUNK ? (size_t)(slots - i) : KLP_SHADOW_CHUNK;

		rc = klp_process_read(&s->p, at + i * sizeof(*slot), slot, n * sizeof(*slot), e);
		for (size_t k = 0; k < n && !rc; k++) {
			unsigned kind = KLP_SHADOW_KIND(slot[k].state);

			*count += kind == KLP_SHADOW_READY || (kind != KLP_SHADOW_FREE && incarnation &&
							       KLP_SHADOW_INCARNATION(slot[k].state) == incarnation);
		}
	}
	free(slot);
	return rc;
}

int klp_shadow_count(const struct klp_session *s, size_t *count, struct klp_error *e)
{
	const struct klp_rt_map *map = NULL;
	struct klp_rt_shadow_fork now;
	struct klp_rt_shadow area;
	int rc;

	*count = 0;
	if (!s->cb || !s->cb->shadow)
		return 0;
	for (unsigned i = 0; i < KLP_MAX_MAPS; i++)
		if (s->cb->maps[i].live && s->cb->maps[i].owner == KLP_OWNER_SHADOW &&
		    s->cb->maps[i].addr == s->cb->shadow)
			map = &s->cb->maps[i];
	if (!map)
		return klp_shadow_senseless(s, e);
	rc = klp_process_read(&s->p, s->cb->shadow, &area, sizeof(area), e);
	if (!rc)
		rc = klp_process_read(&s->p, s->cb->shadow + KLP_SHADOW_PAGE, &now, sizeof(now), e);
	if (!rc && (area.size != map->len || area.size > KLP_SHADOW_AREA_MAX))
		rc = klp_shadow_senseless(s, e);
	for (unsigned i = 0; i < KLP_SHADOW_TABLES && !rc && area.table[i]; i++) {
		uint64_t slots = KLP_SHADOW_TABLE_SLOTS(i), len = slots * sizeof(struct klp_rt_shadow_slot);

		if (area.table[i] > area.size || len > area.size - area.table[i])
			rc = klp_shadow_senseless(s, e);
		else
			rc = klp_shadow_count_table(s, s->cb->shadow + area.table[i], slots, now.incarnation, count, e);
	}
	return rc;
}

int klp_shadow_drop(struct klp_session *s, struct klp_error *e)
{
	struct klp_rt_op op[KLP_MAX_MAPS + 1];
	size_t n = 0;
	int rc;

	/* The word first: who finds it must find the area. */
	if (s->cb->shadow)
		klp_op_store(&op[n++], s->r.cb + offsetof(struct klp_rt_cb, shadow), 0);
	for (unsigned i = 0; i < KLP_MAX_MAPS; i++)
		if (s->cb->maps[i].live && s->cb->maps[i].owner == KLP_OWNER_SHADOW)
			op[n++] = (struct klp_rt_op){.code = KLP_OP_UNMAP, .a = {i}};
	if (!n)
		return 0;
	rc = klp_remote_run(&s->r, op, n, e);
	return rc ? rc : klp_session_read_cb(s, e);
}
