/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A target whose memory lies: klp's status, stack, check and plans on the memory of a real process that has a patch
 * loaded ($KLP_FUZZ_PROCESS, made by seeds.sh), changed at places that the input names. Nothing is stopped or written:
 * the linker's --wrap puts this file's reader in place of the engine's.
 *
 * The input: a byte that says what is asked, then edits {place 1, offset 2, length 1, bytes}.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "klp/arming.h"
#include "klp/maps.h"
#include "klp/objects.h"
#include "klp/plan.h"
#include "klp/runtime/shadow.h"
#include "klp/symfile.h"
#include "klp/transition.h"

#define PLACES 64u
#define EDITS 64u
#define PLACE_MAX 65536u

struct region {
	uint64_t start;
	size_t len;
	uint8_t *bytes;
};

static struct {
	char *listing; /* its mappings, as text */
	struct region *region;
	size_t regions;
	uint64_t entry, start_time, start_stack;
	int ns_pid;
} target;

/* What is worth changing: small places that the engine reads and believes or does not. */
static struct {
	uint8_t *at;
	size_t len;
} place[PLACES];
static size_t places;
static struct klp_module module;
static bool has_module;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
int __wrap_klp_process_open(pid_t pid, struct klp_process *p, struct klp_error *e);
int __wrap_klp_process_read(const struct klp_process *p, uint64_t addr, void *buf, size_t len, struct klp_error *e);
int __wrap_klp_process_read_pieces(const struct klp_process *p, const struct klp_piece *piece, size_t count,
				   struct klp_error *e);
int __wrap_klp_process_refresh(struct klp_process *p, struct klp_error *e);
int __wrap_klp_process_check(struct klp_process *p, struct klp_error *e);

static uint8_t *memory(uint64_t addr, size_t len)
{
	for (size_t i = 0; i < target.regions; i++) {
		const struct region *r = &target.region[i];

		if (addr >= r->start && addr - r->start < r->len && len <= r->len - (addr - r->start))
			return r->bytes + (addr - r->start);
	}
	return NULL;
}

int __wrap_klp_process_read(const struct klp_process *p, uint64_t addr, void *buf, size_t len, struct klp_error *e)
{
	const uint8_t *from = len ? memory(addr, len) : buf;

	if (!from)
		return klp_fail(e, EFAULT, KLP_TARGET_MEMORY, "reading %zu bytes at 0x%" PRIx64 " of process %d", len,
				addr, p->pid);
	if (len)
		memcpy(buf, from, len);
	return 0;
}

int __wrap_klp_process_read_pieces(const struct klp_process *p, const struct klp_piece *piece, size_t count,
				   struct klp_error *e)
{
	int rc = 0;

	for (size_t i = 0; i < count && !rc; i++)
		rc = __wrap_klp_process_read(p, piece[i].addr, piece[i].buf, piece[i].len, e);
	return rc;
}

int __wrap_klp_process_refresh(struct klp_process *p, struct klp_error *e)
{
	(void)p;
	(void)e;
	return 0;
}

int __wrap_klp_process_check(struct klp_process *p, struct klp_error *e)
{
	(void)p;
	(void)e;
	return 0;
}

int __wrap_klp_process_open(pid_t pid, struct klp_process *p, struct klp_error *e)
{
	FILE *f = fmemopen(target.listing, strlen(target.listing), "r");
	int rc;

	memset(p, 0, sizeof(*p));
	p->pid = p->live_tid = pid;
	p->ns_pid = target.ns_pid;
	p->mem_fd = p->lock_fd = -1;
	p->start_time = target.start_time;
	p->start_stack = target.start_stack;
	if (!f)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "an empty listing");
	rc = klp_maps_parse(p, f, e);
	fclose(f);
	if (!rc)
		rc = klp_objects_read(p, target.entry, e);
	if (rc)
		klp_process_close(p);
	return rc;
}

/* ---- the process that seeds.sh recorded ---- */

static void give_up(const char *what)
{
	fprintf(stderr, "fuzz_target: %s\n", what);
	exit(1);
}

/* "ENTRY START_TIME START_STACK PID\n", the listing, an empty line, then {start 8, length 8, bytes} for each region. */
static void read_process(const char *path)
{
	FILE *f = path ? fopen(path, "re") : NULL;
	char *line = NULL;
	size_t room = 0, len = 0;
	uint64_t head[2];

	if (!f || fscanf(f, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %d\n", &target.entry, &target.start_time,
			 &target.start_stack, &target.ns_pid) != 4)
		give_up("KLP_FUZZ_PROCESS is no recorded process: seeds.sh makes one");
	while (getline(&line, &room, f) > 0 && line[0] != '\n') {
		size_t n = strlen(line);

		target.listing = realloc(target.listing, len + n + 1);
		if (!target.listing)
			give_up("no memory");
		memcpy(target.listing + len, line, n + 1);
		len += n;
	}
	free(line);
	while (fread(head, sizeof(head), 1, f) == 1) {
		struct region *r;

		target.region = realloc(target.region, (target.regions + 1) * sizeof(*r));
		r = target.region ? &target.region[target.regions++] : NULL;
		if (!r || head[1] > 1u << 28 || !(r->bytes = malloc((size_t)head[1])) ||
		    fread(r->bytes, (size_t)head[1], 1, f) != 1)
			give_up("the recorded process is cut off");
		r->start = head[0];
		r->len = (size_t)head[1];
	}
	fclose(f);
}

static void add_place(uint64_t addr, uint64_t len)
{
	uint8_t *at;

	if (len > PLACE_MAX)
		len = PLACE_MAX;
	at = len ? memory(addr, (size_t)len) : NULL;
	if (!at || places == PLACES)
		return;
	place[places].at = at;
	place[places++].len = (size_t)len;
}

static void find_places(void)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_session s;

	if (klp_session_open(&s, getpid(), KLP_SESSION_READ, NULL, &e))
		give_up(e.text);
	if (!s.cb || !s.patch_count)
		give_up("the recorded process has no patch");
	place[places].at = (uint8_t *)target.listing;
	place[places++].len = strlen(target.listing);
	add_place(s.r.image, sizeof(struct klp_rt_image));
	add_place(s.r.cb, offsetof(struct klp_rt_cb, maps));
	add_place(s.r.cb + offsetof(struct klp_rt_cb, maps), sizeof(struct klp_rt_map) * 8);
	add_place(s.r.cb + offsetof(struct klp_rt_cb, arenas), 16);
	add_place(s.r.cb + offsetof(struct klp_rt_cb, patches), sizeof(struct klp_rt_patch) * 3);
	for (size_t i = 0; i < s.patch_count; i++) {
		const struct klp_rt_patch *rec = &s.patch[i].rec;

		add_place(rec->meta, rec->meta_len);
		add_place(rec->functions, rec->function_count * 16 + 64);
		add_place(rec->eh_frame, rec->eh_frame_len);
		add_place(rec->names, sizeof(struct klp_rt_names) + 8 * sizeof(Elf64_Sym));
	}
	for (unsigned i = 0; i < KLP_MAX_ARENAS; i++)
		if (s.cb->arenas[i])
			add_place(s.cb->arenas[i], sizeof(struct klp_rt_arena) + 4 * sizeof(struct klp_rt_site));
	if (s.cb->shadow) {
		add_place(s.cb->shadow, sizeof(struct klp_rt_shadow));
		add_place(s.cb->shadow + KLP_SHADOW_FIRST, 256 * sizeof(struct klp_rt_shadow_slot));
	}
	for (size_t i = 0; i < s.p.object_count; i++) {
		add_place(s.p.object[i].start, 0x400);
		add_place(s.p.object[i].eh_frame_hdr, s.p.object[i].eh_frame_hdr_len);
		add_place(s.p.object[i].dynamic, 0x300);
	}
	klp_session_close(&s);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *path = getenv("KLP_FUZZ_MODULE");
	struct klp_error e = KLP_ERROR_INIT;

	(void)argc;
	(void)argv;
	read_process(getenv("KLP_FUZZ_PROCESS"));
	find_places();
	has_module = path && !klp_module_read(path, &module, &e);
	if (path && !has_module)
		give_up(e.text);
	return 0;
}

/* ---- one input ---- */

static void ask_plans(void)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_session s;

	if (klp_session_open(&s, getpid(), KLP_SESSION_READ, NULL, &e))
		return;
	klp_transition_patch(&s);
	for (size_t i = 0; i < s.patch_count; i++) {
		struct klp_patch *p = &s.patch[i];
		struct klp_symfile names;
		struct klp_plan plan;
		char name[600];

		if (!klp_symfile_read_patch(&s, p, &names, &e))
			klp_symfile_free(&names);
		if (!p->has_meta)
			continue;
		for (unsigned kind = KLP_TRANSITION_LOAD; kind <= KLP_TRANSITION_UNLOAD; kind++)
			if (!klp_plan_make(&s, p, kind, &plan, &e)) {
				if (plan.count > KLP_PLAN_MAX_SITES)
					abort(); /* the request that ends a transition has no room for more */
				klp_plan_free(&plan);
			}
		for (size_t k = 0; k < p->rec.function_count && k < 8; k++)
			klp_function_name(&s, p->function[2 * k + 1], name, sizeof(name));
	}
	klp_session_close(&s);
}

static void ask(unsigned what)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *result = NULL;
	char *text = NULL;
	int rc = 0;

	switch (what % 4) {
	case 0:
		rc = klp_status(getpid(), &result, &e);
		break;
	case 1:
		ask_plans();
		return;
	case 2:
		rc = klp_stack(getpid(), &result, &e);
		break;
	default:
		if (has_module)
			rc = klp_check(getpid(), &module, &result, &e);
		break;
	}
	/* A refusal says why, and what is said can be printed. */
	if (rc < 0 && (!e.text[0] || e.reason == KLP_INTERNAL))
		abort();
	if (result && !(text = json_dumps(result, 0)))
		abort();
	free(text);
	json_decref(result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct {
		uint8_t *at, old[16];
		size_t len;
	} undo[EDITS];
	size_t edits = 0, at = 1;

	if (!size)
		return 0;
	while (size - at >= 5 && edits < EDITS) {
		size_t which = data[at] % places,
		       offset = (size_t)(data[at + 1] | data[at + 2] << 8) % place[which].len,
		       len = data[at + 3] % sizeof(undo->old) + 1;

		at += 4;
		if (len > size - at)
			len = size - at;
		if (len > place[which].len - offset)
			len = place[which].len - offset;
		undo[edits].at = place[which].at + offset;
		undo[edits].len = len;
		memcpy(undo[edits].old, undo[edits].at, len);
		memcpy(undo[edits].at, data + at, len);
		edits++;
		at += len;
	}
	ask(data[0]);
	while (edits) {
		edits--;
		memcpy(undo[edits].at, undo[edits].old, undo[edits].len);
	}
	return 0;
}
