/* SPDX-License-Identifier: Apache-2.0 */
/* Finding, making and removing the core. */
#include "klp/core.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "klp/borrow.h"
#include "klp/clock.h"
#include "klp/guard.h"
#include "klp/helper.h"
#include "klp/permit.h"
#include "klp/runtime/image.h"
#include "klp/stop.h"
#include "klp/underway.h"
#include "plt/plt.h"

#define KLP_CB_SIZE (KLP_OWN_OFFSET + KLP_OWN_PAGE)
#define KLP_CORE_SIZE (KLP_RT_TEXT_SIZE + KLP_CB_SIZE)
#define KLP_CORE_REACH ((2ull << 30) - (16ull << 20))
#define KLP_MAP_APPEAR_NS 300000000ull /* the borrowed thread's mmap; it runs at the target's own priority */
#define KLP_POLL_NS 20000ull
#define KLP_SETTLE_NS 3000000000ull /* a thread that gets no processor for so long is waited for no more */
#define KLP_TID_BELOW 16            /* bytes from a thread's tid to its robust list */
#define KLP_NEW_LOOKS 4u            /* at a thread that may not have run yet */
#define KLP_NEW_NS 500000ull
#define KLP_SYNC_CORE_REGISTER 64u /* MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE */

bool klp_core_is(const struct klp_process *p, size_t i)
{
	const struct klp_mapping *m = &p->map[i], *cb = m + 1;
	uint64_t end;

	if (i + 1 >= p->map_count)
		return false;
	/* The page that a fork clears is a mapping of its own then. */
	end = cb->end;
	if (i + 2 < p->map_count && end - cb->start == KLP_OWN_OFFSET && cb[1].start == end &&
	    cb[1].end - end == KLP_OWN_PAGE && cb[1].prot == cb->prot && !cb[1].inode)
		end = cb[1].end;
	return m->prot == (PROT_READ | PROT_EXEC) && !m->shared && !m->inode && !*m->path &&
	       m->end - m->start == KLP_RT_TEXT_SIZE && cb->start == m->end && end - cb->start == KLP_CB_SIZE &&
	       cb->prot == (PROT_READ | PROT_WRITE) && !cb->inode;
}

int klp_core_check(struct klp_process *p, struct klp_remote *r, struct klp_error *e)
{
	const struct klp_rt_image *own = (const struct klp_rt_image *)(const void *)klp_rt_image_start;
	struct {
		char magic[16];
		uint64_t self, image, size;
		uint32_t pid;
		int32_t tid_offset;
		uint64_t start_time;
	} head;
	uint32_t helper, removing = 0;
	int rc = klp_process_read(p, r->image, &r->hdr, sizeof(r->hdr), e);

	if (!rc)
		rc = klp_process_read(p, r->cb, &head, sizeof(head), e);
	if (rc)
		return rc;
	if (memcmp(r->hdr.magic, KLP_RT_MAGIC, sizeof(r->hdr.magic)) ||
	    memcmp(head.magic, KLP_CB_MAGIC, sizeof(head.magic)))
		return 1; /* left behind unfinished */
	if (r->hdr.build != own->build || head.size != sizeof(struct klp_rt_cb))
		return klp_fail(
		    e, EBUSY, KLP_FOREIGN_RUNTIME,
		    "process %d holds the runtime of another version of klp: unload its patches with that version",
		    p->pid);
	if (head.self != r->cb || head.image != r->image)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "the control block of process %d makes no sense", p->pid);
	r->adopted = head.pid != (uint32_t)p->ns_pid || head.start_time != p->start_time;
	rc = klp_process_read(p, klp_cb_at(r, offsetof(struct klp_rt_cb, helper_tid)), &helper, sizeof(helper), e);
	if (!rc)
		r->helper = klp_helper_find(p, helper);
	if (!rc)
		rc = klp_process_read(p, klp_cb_at(r, offsetof(struct klp_rt_cb, removing)), &removing,
				      sizeof(removing), e);
	r->removing = removing != 0;
	return rc;
}

/* A core that a killed tool mapped and did not finish: right shape, all zero or klp's magic in the image, no control
 * block yet. */
static uint64_t klp_core_unfinished(struct klp_process *p)
{
	static const char zero[16];
	char image[16], cb[16];

	for (size_t i = 0; i < p->map_count; i++) {
		struct klp_error ignored = KLP_ERROR_INIT;

		if (klp_core_is(p, i) && !klp_process_read(p, p->map[i].start, image, 16, &ignored) &&
		    !klp_process_read(p, p->map[i].end, cb, 16, &ignored) && !memcmp(cb, zero, 16) &&
		    (!memcmp(image, zero, 16) || !memcmp(image, KLP_RT_MAGIC, 16)))
			return p->map[i].start;
	}
	return 0;
}

/* The tool may have been killed while it took it out again: whoever was sent for that has done it. */
int klp_core_unfinished_find(struct klp_process *p, uint64_t *at, struct klp_error *e)
{
	uint64_t end = klp_clock_now() + KLP_SETTLE_NS;
	struct klp_underway u;
	pid_t left;
	int rc;

	*at = klp_core_unfinished(p);
	if (!*at)
		return 0;
	rc = klp_underway_begin(p, &u, e);
	if (rc)
		return rc;
	while ((left = klp_underway_look(&u)) && klp_clock_now() < end)
		klp_clock_pause(KLP_POLL_NS);
	klp_underway_end(&u);
	if (left)
		return klp_underway_fail(p, left, e);
	rc = klp_process_refresh(p, e);
	*at = rc ? 0 : klp_core_unfinished(p);
	return rc;
}

static uint64_t klp_core_place(struct klp_process *p, struct klp_error *e)
{
	const struct klp_object *o = NULL;
	struct klp_gap_map *map;
	struct klp_gap_query q = {
	    .count = p->map_count,
	    .brk_start = p->brk_start,
	    .brk_end = p->brk_end,
	    .size = KLP_CORE_SIZE,
	    .reach = KLP_CORE_REACH,
	    .page = 4096,
	    .min_addr = 65536,
	    .max_addr = KLP_USER_END,
	    .stack_guard = p->stack_limit == UINT64_MAX ? 1ull << 30 : p->stack_limit + (1ull << 20),
	};
	uint64_t at;

	for (size_t i = 0; i < p->object_count; i++)
		if (p->object[i].main)
			o = &p->object[i];
	map = calloc(p->map_count + 1, sizeof(*map));
	if (!o || !map) {
		free(map);
		klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the mapping list");
		return 0;
	}
	for (size_t i = 0; i < p->map_count; i++)
		map[i] = (struct klp_gap_map){p->map[i].start, p->map[i].end, p->map[i].grows_down};
	q.map = map;
	q.object_start = o->start;
	q.object_end = o->end;
	at = klp_near_find(&q);
	free(map);
	if (!at)
		klp_fail(e, ENOMEM, KLP_NO_ROOM, "process %d has no room near its executable", p->pid);
	return at;
}

/* Limits that would make the mapping fail, for a sentence that helps. */
static const char *klp_core_limit(const struct klp_process *p)
{
	struct rlimit as = {RLIM_INFINITY, RLIM_INFINITY};
	uint64_t pages = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", p->pid);
	f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%lu", &pages) != 1)
			pages = 0;
		fclose(f);
	}
	if (!prlimit(p->pid, RLIMIT_AS, NULL, &as) && as.rlim_cur != RLIM_INFINITY &&
	    pages * 4096 + KLP_CORE_SIZE + (1u << 20) > as.rlim_cur)
		return "its address space limit (RLIMIT_AS) leaves no room";
	return NULL;
}

/* The first of the two mappings, without the second: a limit was reached between them. */
static void klp_core_half_unmap(struct klp_remote *r, uint64_t at, unsigned wait_ms)
{
	const struct klp_borrow_call call = {SYS_munmap, {at, KLP_RT_TEXT_SIZE}};
	const struct klp_mapping *m = klp_process_mapping(r->p, at);
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_borrowed who;

	if (m && m->start == at && m->end == at + KLP_RT_TEXT_SIZE && m->prot == (PROT_READ | PROT_EXEC) && !m->inode &&
	    !*m->path)
		klp_borrow_calls(r, &call, 1, wait_ms, &who, &ignored);
}

static int klp_core_map(struct klp_remote *r, uint64_t at, unsigned wait_ms, struct klp_borrowed *who,
			struct klp_error *e)
{
	const uint64_t flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
	/* Alone in its process a thread registers for the core sync in microseconds; among others that takes a grace
	 * period, and is the helper's. */
	const struct klp_borrow_call call[3] = {
	    {SYS_mmap, {at, KLP_RT_TEXT_SIZE, PROT_READ | PROT_EXEC, flags, ~0ull, 0}},
	    {SYS_mmap, {at + KLP_RT_TEXT_SIZE, KLP_CB_SIZE, PROT_READ | PROT_WRITE, flags, ~0ull, 0}},
	    {SYS_membarrier, {KLP_SYNC_CORE_REGISTER, 0}},
	};
	const char *limit = klp_core_limit(r->p);
	pid_t *tid = NULL;
	size_t threads = 0;
	uint64_t until;
	int rc;

	if (limit)
		return klp_fail(e, ENOMEM, KLP_NO_ROOM, "process %d: %s", r->p->pid, limit);
	rc = klp_process_tids(r->p, &tid, &threads, e);
	free(tid);
	if (!rc)
		rc = klp_borrow_calls(r, call, threads == 1 ? 3 : 2, wait_ms, who, e);
	if (rc)
		return rc;
	until = klp_clock_now() + KLP_MAP_APPEAR_NS;
	do {
		struct klp_error ignored = KLP_ERROR_INIT;
		char probe[16];

		if (!klp_process_read(r->p, at, probe, 16, &ignored) &&
		    !klp_process_read(r->p, at + KLP_RT_TEXT_SIZE, probe, 16, &ignored)) {
			rc = klp_process_refresh(r->p, e);
			/* Somebody else may have mapped there at the same moment. */
			if (!rc && klp_core_unfinished(r->p) != at)
				rc = klp_fail(e, EAGAIN, KLP_NO_ROOM,
					      "process %d took the room that was meant for klp: try again", r->p->pid);
			return rc;
		}
		klp_clock_pause(KLP_POLL_NS);
	} while (klp_clock_now() < until);
	/* One of the two may be there. */
	rc = klp_process_refresh(r->p, e);
	if (rc)
		return rc;
	klp_core_half_unmap(r, at, wait_ms);
	return klp_fail(e, ENOMEM, KLP_NO_ROOM,
			"mmap in process %d did not succeed: no memory (overcommit), a limit, or a security module "
			"that forbids anonymous executable memory",
			r->p->pid);
}

struct klp_image_bytes {
	struct klp_remote *r;
	const uint8_t *copy;
	size_t len;
	struct klp_error *e;
	int refused; /* what the kernel said without a tracer */
};

/*
 * A hardened kernel (proc_mem.force_override=ptrace) demands a tracer of the thread whose file is written: that one is
 * stopped for as long as this takes, and its call repaired like after any stop.
 */
static int klp_image_write_stopped(void *arg)
{
	const struct klp_image_bytes *b = arg;
	struct klp_stop st;
	int rc, stopped = klp_stop_begin(b->r, b->r->p->live_tid, &st, b->e);

	if (stopped <= 0)
		return stopped ? stopped : b->refused;
	rc = klp_process_write_text(b->r->p, b->r->image + 16, b->copy + 16, b->len - 16, b->e);
	if (!rc)
		rc = klp_process_write_text(b->r->p, b->r->image, b->copy, 16, b->e);
	klp_stop_end(&st);
	return rc;
}

static int klp_image_write(struct klp_remote *r, struct klp_error *e)
{
	size_t len = (size_t)(klp_rt_image_end - klp_rt_image_start);
	struct klp_rt_image *hdr;
	uint64_t fn;
	uint8_t *copy;
	int rc;

	if (len > KLP_RT_TEXT_SIZE || len < sizeof(*hdr))
		return klp_fail(e, EINVAL, KLP_INTERNAL, "the runtime image has %zu bytes", len);
	copy = malloc(len);
	if (!copy)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the runtime image");
	memcpy(copy, klp_rt_image_start, len);
	hdr = (struct klp_rt_image *)(void *)copy;
	memcpy(&fn, copy + hdr->ops_livepatch, 8);
	fn += r->image;
	memcpy(copy + hdr->ops_livepatch, &fn, 8);
	r->hdr = *hdr;
	rc = klp_process_write_text(r->p, r->image + 16, copy + 16, len - 16, e);
	if (rc == -EIO || rc == -EPERM || rc == -EACCES) {
		struct klp_image_bytes image = {r, copy, len, e, rc};

		rc = klp_guard_run(r->p, r->p->live_tid, klp_image_write_stopped, &image, e);
	} else if (!rc) {
		rc = klp_process_write_text(r->p, r->image, copy, 16, e); /* magic last */
	}
	free(copy);
	return rc;
}

static bool klp_tid_is_at(struct klp_remote *r, pid_t tid, int64_t delta)
{
	uint64_t tp = klp_task_thread_pointer(r->p, tid, delta);
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_info info;
	uint32_t value = 0;
	bool good = tp &&
		    !klp_process_read(r->p, tp + (uint64_t)delta - KLP_TID_BELOW, &value, sizeof(value), &ignored) &&
		    klp_tcb_holds(r->p, tp);

	if (good && r->p->same_ns && value == (uint32_t)tid)
		return true;
	/* Threads that never run user code again need not have one. */
	if (klp_task_info(r->p, tid, &info, &ignored) || info.state == 'Z' || klp_task_is_kernel_made(&info))
		return true;
	return good && value == (uint32_t)info.ns_tid;
}

/* A thread has no robust list until it has run for the first time. */
static bool klp_tid_comes_to(struct klp_remote *r, pid_t tid, int64_t delta)
{
	for (unsigned looks = 1; !klp_tid_is_at(r, tid, delta); looks++) {
		if (looks == KLP_NEW_LOOKS)
			return false;
		klp_clock_sleep(KLP_NEW_NS);
	}
	return true;
}

bool klp_core_tids_hold(struct klp_remote *r, int32_t tid_offset)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	pid_t *tid = NULL;
	size_t n = 0;
	bool good = !klp_process_tids(r->p, &tid, &n, &ignored);

	for (size_t i = 0; i < n && good; i++)
		good = tid[i] == r->helper || klp_tid_comes_to(r, tid[i], (int64_t)tid_offset + KLP_TID_BELOW);
	free(tid);
	return good;
}

/*
 * Where the C library keeps a thread's tid in its control block, so that dispatch need not ask the kernel. glibc: 16
 * bytes before the robust list's head, which the kernel tells of every thread; believed only while it holds for all
 * threads that exist (klp_core_tids_hold).
 */
static int32_t klp_tid_offset(struct klp_remote *r, const struct klp_borrowed *who)
{
	uint64_t head = 0;
	int64_t delta;
	size_t len = 0;

	if (!who->thread_pointer || syscall(SYS_get_robust_list, who->tid, &head, &len) || !head)
		return INT32_MIN;
	delta = (int64_t)(head - who->thread_pointer);
	if (!KLP_TCB_DELTA_OK(delta))
		return INT32_MIN;
	r->robust_delta = delta;
	r->robust_known = true;
	return (int32_t)(delta - KLP_TID_BELOW);
}

static int klp_cb_init(struct klp_remote *r, const struct klp_borrowed *who, struct klp_error *e)
{
	size_t len = offsetof(struct klp_rt_cb, maps);
	struct klp_rt_cb *cb =
	    calloc(1, sizeof(*cb)); /* only its head is written: the rest is zero in a fresh mapping */
	int rc;

	if (!cb)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the control block");
	cb->self = r->cb;
	cb->image = r->image;
	cb->size = sizeof(*cb);
	cb->pid = (uint32_t)r->p->ns_pid;
	cb->tid_offset = klp_tid_offset(r, who);
	cb->start_time = r->p->start_time;
	cb->next_id = 1;
	cb->next_generation = 1;
	rc = klp_process_write(r->p, r->cb, cb, len, e);
	if (!rc)
		rc = klp_process_write(r->p, r->cb, KLP_CB_MAGIC, 16, e);
	free(cb);
	return rc;
}

int klp_core_make(struct klp_remote *r, unsigned wait_ms, struct klp_error *e)
{
	struct klp_borrowed who = {0};
	uint64_t at;
	int rc = klp_core_unfinished_find(r->p, &at, e);

	if (rc)
		return rc;
	if (!at) {
		at = klp_core_place(r->p, e);
		if (!at)
			return -e->err;
		rc = klp_core_map(r, at, wait_ms, &who, e);
		if (rc)
			return rc;
	}
	r->image = at;
	r->cb = at + KLP_RT_TEXT_SIZE;
	rc = klp_image_write(r, e);
	if (!rc)
		rc = klp_cb_init(r, &who, e);
	if (rc)
		r->image = r->cb = 0;
	return rc;
}

int klp_core_adopt(struct klp_remote *r, struct klp_error *e)
{
	const struct klp_rt_borrow nobody = {0};
	uint32_t none = 0;
	uint64_t unregistered = 0;
	uint8_t same;
	int rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, helper_tid)), &none, sizeof(none), e);

	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, borrow_result)), &none,
				       sizeof(none), e);
	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, borrow)), &nobody, sizeof(nobody),
				       e);
	if (!rc) /* whoever ran a callback then is not here */
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, callback.state)), &none,
				       sizeof(none), e);
	if (!rc)
		rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, done)), &same, 1, e);
	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, request)), &same, 1, e);
	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, sync_registered)), &unregistered,
				       8, e);
	return rc;
}

int klp_core_own(struct klp_remote *r, struct klp_error *e)
{
	uint32_t pid = (uint32_t)r->p->ns_pid;
	uint64_t start = r->p->start_time;
	int rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, pid)), &pid, sizeof(pid), e);

	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, start_time)), &start, 8, e);
	if (!rc)
		r->adopted = false;
	return rc;
}

int klp_core_claim(struct klp_remote *r, struct klp_error *e)
{
	const uint64_t mine = KLP_OWN, at = klp_cb_at(r, KLP_OWN_OFFSET);
	struct klp_rt_op op = {.code = KLP_OP_SYSCALL, .a = {SYS_madvise, at, KLP_OWN_PAGE, MADV_WIPEONFORK}};
	struct klp_error why = KLP_ERROR_INIT;
	uint64_t own;
	int rc = klp_process_read(r->p, at, &own, sizeof(own), e);

	if (rc || r->adopted || own == mine)
		return rc;
	if (klp_permit_calls(r, KLP_SECCOMP_CLAIM, &why))
		return why.reason == KLP_SECCOMP ? 0 : klp_fail(e, why.err, why.reason, "%s", why.text);
	rc = klp_remote_run(r, &op, 1, e);
	/* Behind the call: a fork in between copies a page that says nothing. */
	return rc || op.result < 0 ? rc : klp_process_write(r->p, at, &mine, sizeof(mine), e);
}

int klp_core_unmap(struct klp_remote *r, uint64_t at, unsigned wait_ms, struct klp_error *e)
{
	const struct klp_borrow_call call = {SYS_munmap, {at, KLP_CORE_SIZE}};
	struct klp_borrowed who;
	uint64_t until;
	int rc = klp_borrow_calls(r, &call, 1, wait_ms, &who, e);

	if (rc)
		return rc;
	until = klp_clock_now() + KLP_MAP_APPEAR_NS;
	do {
		struct klp_error ignored = KLP_ERROR_INIT;
		char probe;

		if (klp_process_read(r->p, at, &probe, 1, &ignored))
			return klp_process_refresh(r->p, e);
		klp_clock_pause(KLP_POLL_NS);
	} while (klp_clock_now() < until);
	return klp_fail(e, ETIMEDOUT, KLP_NO_BORROW, "munmap in process %d did not happen", r->p->pid);
}
