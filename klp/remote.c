/* SPDX-License-Identifier: Apache-2.0 */
/* klp inside the target: finding, making and removing the core, and what the helper is asked. See klp/remote.h. */
#include "klp/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "klp/borrow.h"
#include "klp/frame.h"
#include "klp/guard.h"
#include "klp/runtime/image.h"
#include "klp/stop.h"
#include "klp/underway.h"
#include "plt/plt.h"

#define KLP_CB_SIZE ((sizeof(struct klp_rt_cb) + 4095u) & ~4095ull)
#define KLP_CORE_SIZE (KLP_RT_TEXT_SIZE + KLP_CB_SIZE)
#define KLP_CORE_REACH ((2ull << 30) - (16ull << 20))
#define KLP_MAP_APPEAR_NS 300000000ull /* the borrowed thread's mmap; it runs at the target's own priority */
#define KLP_HELPER_NS 5000000000ull    /* the helper's first sign of life; it may wait for a processor */
#define KLP_REQUEST_NS 10000000000ull
#define KLP_POLL_NS 20000ull
#define KLP_SETTLE_NS 3000000000ull /* a helper that hears nothing leaves after 2 s */
#define KLP_CHAIN_NS 500000000ull
#define KLP_SETTLE_START_NS 50000000ull  /* a borrowed thread's first instructions */
#define KLP_SETTLE_QUIET_NS 100000000ull /* a thread between two stores of its tracer that was killed */
#define KLP_SYNC_CORE_REGISTER 64u       /* MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE */
#define KLP_SPIN 200u

static uint64_t klp_remote_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void klp_remote_pause(uint64_t ns)
{
	struct timespec t = {0, (long)ns};

	nanosleep(&t, NULL);
}

static uint64_t klp_cb_at(const struct klp_remote *r, size_t offset)
{
	return r->cb + offset;
}

/* ---- finding ---- */

static bool klp_is_core(const struct klp_process *p, size_t i)
{
	const struct klp_mapping *m = &p->map[i];

	return m->prot == (PROT_READ | PROT_EXEC) && !m->shared && !m->inode && !*m->path &&
	       m->end - m->start == KLP_RT_TEXT_SIZE && i + 1 < p->map_count && p->map[i + 1].start == m->end &&
	       p->map[i + 1].end - p->map[i + 1].start == KLP_CB_SIZE &&
	       p->map[i + 1].prot == (PROT_READ | PROT_WRITE) && !p->map[i + 1].inode;
}

/* A thread by its number in the target's own namespace. */
static pid_t klp_thread_by_ns_tid(const struct klp_process *p, uint64_t ns_tid, struct klp_task_info *info)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	pid_t *tid = NULL, found = 0;
	size_t n = 0;

	if (!ns_tid || ns_tid > INT32_MAX)
		return 0;
	if (p->same_ns) /* the number is ours too */
		return !klp_task_info(p, (pid_t)ns_tid, info, &ignored) && info->state != 'Z' && info->state != 'X'
			   ? (pid_t)ns_tid
			   : 0;
	if (klp_process_tids(p, &tid, &n, &ignored))
		return 0;
	while (n-- > 0 && !found) /* it was born last */
		if (!klp_task_info(p, tid[n], info, &ignored) && (uint64_t)info->ns_tid == ns_tid &&
		    info->state != 'Z' && info->state != 'X')
			found = tid[n];
	free(tid);
	return found;
}

int klp_remote_visits(const struct klp_remote *r, uint32_t ns_tid, uint64_t old_mask)
{
	struct klp_task_info info;

	if (!klp_thread_by_ns_tid(r->p, ns_tid, &info))
		return -1;
	return info.sig_blocked == KLP_ALL_BLOCKED && (old_mask & KLP_ALL_BLOCKED) != KLP_ALL_BLOCKED;
}

static pid_t klp_outer_tid(const struct klp_process *p, uint32_t ns_tid)
{
	struct klp_task_info info;
	pid_t tid = klp_thread_by_ns_tid(p, ns_tid, &info);

	return tid && !strcmp(info.comm, "klp-helper") ? tid : 0;
}

/*
 * A killed tool may have left a thread on its way home, which reads the borrow frames, and a helper that does not show
 * its tid yet or any more, on the helper's stack. Waits until neither is there, so that frames, stack and code may be
 * used anew or unmapped. Every signal is blocked as long as they are in klp's code: the kernel's own word for it. A
 * helper that shows its tid is adopted.
 */
static int klp_remote_settle(struct klp_remote *r, struct klp_error *e)
{
	uint64_t began = klp_remote_now(), passed;
	struct klp_task_info info;
	struct klp_rt_callback visit;
	struct klp_rt_borrow b;
	uint32_t helper;
	int32_t result;
	bool busy;
	int rc;

	for (;;) {
		pid_t tid;

		rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, borrow)), &b, sizeof(b), e);
		if (!rc)
			rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, borrow_result)), &result, 4,
					      e);
		if (!rc)
			rc =
			    klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, helper_tid)), &helper, 4, e);
		if (rc)
			return rc;
		if (helper && (r->helper = klp_outer_tid(r->p, helper)))
			return 0;
		rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, callback)), &visit, sizeof(visit),
				      e);
		if (rc)
			return rc;
		passed = klp_remote_now() - began;
		busy = false;
		tid = klp_thread_by_ns_tid(r->p, b.reserved[0], &info);
		/* A thread that runs a callback has been at home before. */
		if (tid && !(visit.state && visit.tid == b.reserved[0]) &&
		    ((info.sig_blocked == KLP_ALL_BLOCKED && (b.old_mask & KLP_ALL_BLOCKED) != KLP_ALL_BLOCKED) ||
		     (!result && passed < KLP_SETTLE_START_NS)))
			busy = true;
		tid = result > 0 ? klp_thread_by_ns_tid(r->p, (uint64_t)result, &info) : 0;
		if (tid && info.sig_blocked == KLP_ALL_BLOCKED &&
		    (!strcmp(info.comm, "klp-helper") || passed < KLP_HELPER_NS))
			busy = true;
		if (!busy)
			return 0;
		if (passed > KLP_SETTLE_NS)
			return klp_fail(e, ETIMEDOUT, KLP_HELPER, "a thread of process %d does not leave klp's code",
					r->p->pid);
		klp_remote_pause(KLP_POLL_NS);
	}
}

/*
 * A thread that a killed tool sent to map or unmap a core may not have come that far yet: waits for it, so that nothing
 * is built on what it is about to change. It has every signal blocked; a thread of the program that has too and never
 * waits costs KLP_CHAIN_NS. 1: somebody was waited for.
 */
static int klp_chains_settle(struct klp_process *p, struct klp_error *e)
{
	uint64_t began = klp_remote_now();
	int waited = 0;
	bool busy;

	if (p->survey.done && !p->survey.all_blocked)
		return 0;
	do {
		pid_t *tid = NULL;
		size_t n = 0;
		int rc = klp_process_tids(p, &tid, &n, e);

		if (rc)
			return rc;
		busy = false;
		for (size_t i = 0; i < n && !busy; i++) {
			struct klp_error ignored = KLP_ERROR_INIT;
			struct klp_task_syscall s;
			struct klp_task_info info;

			busy = !klp_task_status(p, tid[i], &info, &ignored) && info.sig_blocked == KLP_ALL_BLOCKED &&
			       !klp_task_info(p, tid[i], &info, &ignored) && info.state != 'Z' && info.state != 'X' &&
			       !klp_task_is_kernel_made(&info) && strcmp(info.comm, "klp-helper") &&
			       !klp_task_syscall(p, tid[i], &s, &ignored) && klp_underway_may_be(&s);
		}
		free(tid);
		if (busy) {
			waited = 1;
			klp_remote_pause(KLP_POLL_NS);
		}
	} while (busy && klp_remote_now() - began < KLP_CHAIN_NS);
	return waited;
}

static int klp_core_check(struct klp_process *p, struct klp_remote *r, struct klp_error *e)
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
		r->helper = klp_outer_tid(p, helper);
	if (!rc)
		rc = klp_process_read(p, klp_cb_at(r, offsetof(struct klp_rt_cb, removing)), &removing,
				      sizeof(removing), e);
	r->removing = removing != 0;
	return rc;
}

/* A thread that is in klp's code, or on a chain of klp's frames: nobody else blocks the C library's own signals for
 * long. */
static bool klp_somebody_borrowed(const struct klp_process *p)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_info info;
	pid_t *tid = NULL;
	bool found = false;
	size_t n = 0;

	if (klp_process_tids(p, &tid, &n, &ignored))
		return false;
	for (size_t i = 0; i < n && !found; i++)
		found = !klp_task_status(p, tid[i], &info, &ignored) && info.sig_blocked == KLP_ALL_BLOCKED &&
			strcmp(info.comm, "klp-helper");
	free(tid);
	return found;
}

static int klp_fail_underway(const struct klp_process *p, pid_t tid, struct klp_error *e)
{
	return klp_fail(
	    e, EBUSY, KLP_BUSY,
	    "thread %d of process %d gets no processor, and may be on its way to unmap what a killed tool left", tid,
	    p->pid);
}

/*
 * A tool was killed while it took the core out: the thread that it borrowed for the munmap may be under way, and may
 * not have been on a processor since. Waits until the core is gone (1) or until nobody can be under way (0), so that
 * the core may be used again. -EBUSY if that does not come.
 */
static int klp_core_leaving(struct klp_process *p, const struct klp_remote *r, struct klp_error *e)
{
	uint64_t now = klp_remote_now(), quiet = now, end = now + KLP_SETTLE_NS;
	struct klp_underway u;
	pid_t left = 0;
	int rc = klp_underway_begin(p, &u, e);

	if (rc)
		return rc;
	while (!rc && now < end && (left || now - quiet < KLP_SETTLE_QUIET_NS)) {
		struct klp_error ignored = KLP_ERROR_INIT;
		char probe;

		if (klp_process_read(p, r->cb, &probe, 1, &ignored))
			rc = 1;
		left = klp_underway_look(&u);
		if (klp_somebody_borrowed(p))
			quiet = klp_remote_now();
		klp_remote_pause(KLP_POLL_NS);
		now = klp_remote_now();
	}
	if (!rc && left)
		rc = klp_fail_underway(p, left, e);
	klp_underway_end(&u);
	return rc;
}

int klp_remote_find(struct klp_process *p, struct klp_remote *r, struct klp_error *e)
{
	bool again = false;

	memset(r, 0, sizeof(*r));
	r->p = p;
	for (size_t i = 0; i < p->map_count; i++) {
		int rc;

		if (!klp_is_core(p, i))
			continue;
		r->image = p->map[i].start;
		r->cb = p->map[i].end;
		rc = klp_core_check(p, r, e);
		if (rc < 0 && e->reason == KLP_TARGET_MEMORY && !again) {
			/* It may have gone between the list and the look: a killed tool's last munmap. */
			again = true;
			rc = klp_process_refresh(p, e);
			if (rc)
				return rc;
			r->image = r->cb = 0;
			i = (size_t)-1;
			continue;
		}
		if (!rc && r->removing) {
			rc = klp_core_leaving(p, r, e);
			if (rc > 0) {
				r->image = r->cb = 0;
				return klp_process_refresh(p, e);
			}
		}
		if (rc <= 0) {
			if (rc < 0)
				r->image = r->cb = 0;
			return rc;
		}
		r->image = r->cb = 0;
	}
	return 0;
}

/* A core that a killed tool mapped and did not finish: right shape, all zero or klp's magic in the image, no control
 * block yet. */
static uint64_t klp_core_unfinished(struct klp_process *p)
{
	static const char zero[16];
	char image[16], cb[16];

	for (size_t i = 0; i < p->map_count; i++) {
		struct klp_error ignored = KLP_ERROR_INIT;

		if (klp_is_core(p, i) && !klp_process_read(p, p->map[i].start, image, 16, &ignored) &&
		    !klp_process_read(p, p->map[i].end, cb, 16, &ignored) && !memcmp(cb, zero, 16) &&
		    (!memcmp(image, zero, 16) || !memcmp(image, KLP_RT_MAGIC, 16)))
			return p->map[i].start;
	}
	return 0;
}

/* 0 and where it is, or 0 and 0. The tool may have been killed while it took it out again: whoever was sent for that
 * has done it. */
static int klp_core_unfinished_find(struct klp_process *p, uint64_t *at, struct klp_error *e)
{
	uint64_t end = klp_remote_now() + KLP_SETTLE_NS;
	struct klp_underway u;
	pid_t left;
	int rc;

	*at = klp_core_unfinished(p);
	if (!*at)
		return 0;
	rc = klp_underway_begin(p, &u, e);
	if (rc)
		return rc;
	while ((left = klp_underway_look(&u)) && klp_remote_now() < end)
		klp_remote_pause(KLP_POLL_NS);
	klp_underway_end(&u);
	if (left)
		return klp_fail_underway(p, left, e);
	rc = klp_process_refresh(p, e);
	*at = rc ? 0 : klp_core_unfinished(p);
	return rc;
}

/* ---- making ---- */

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
	until = klp_remote_now() + KLP_MAP_APPEAR_NS;
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
		klp_remote_pause(KLP_POLL_NS);
	} while (klp_remote_now() < until);
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

/*
 * Where the C library keeps a thread's tid in its control block, so that dispatch need not ask the kernel. glibc: 16
 * bytes before the robust list's head, which the kernel tells of every thread; believed only if it holds for all
 * threads that exist.
 */
static int32_t klp_tid_offset(struct klp_remote *r, const struct klp_borrowed *who)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint64_t head = 0, tp;
	int64_t delta;
	size_t len = 0, n = 0;
	pid_t *tid = NULL;
	bool good;

	if (!who->thread_pointer || syscall(SYS_get_robust_list, who->tid, &head, &len) || !head)
		return INT32_MIN;
	delta = (int64_t)(head - who->thread_pointer);
	if (!KLP_TCB_DELTA_OK(delta))
		return INT32_MIN;
	r->robust_delta = delta;
	r->robust_known = true;
	good = !klp_process_tids(r->p, &tid, &n, &ignored);
	for (size_t i = 0; i < n && good; i++) {
		struct klp_task_info info;
		uint32_t value = 0;

		if (tid[i] == r->helper)
			continue;
		tp = klp_task_thread_pointer(r->p, tid[i], delta);
		good = tp && !klp_process_read(r->p, tp + (uint64_t)delta - 16, &value, sizeof(value), &ignored) &&
		       klp_tcb_holds(r->p, tp);
		if (good && r->p->same_ns && value == (uint32_t)tid[i])
			continue;
		/* Threads that never run user code again need not have one. */
		if (klp_task_info(r->p, tid[i], &info, &ignored) || info.state == 'Z' || klp_task_is_kernel_made(&info))
			good = true;
		else
			good = good && value == (uint32_t)info.ns_tid;
	}
	free(tid);
	return good ? (int32_t)(delta - 16) : INT32_MIN;
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

/* A fork's child: the block is a copy of its parent's. */
static int klp_cb_adopt(struct klp_remote *r, struct klp_error *e)
{
	struct {
		uint32_t pid;
	} self = {(uint32_t)r->p->ns_pid};
	const struct klp_rt_borrow nobody = {0};
	uint32_t none = 0;
	uint64_t start = r->p->start_time, unregistered = 0;
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
	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, pid)), &self, sizeof(self), e);
	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, start_time)), &start, 8, e);
	return rc;
}

static int klp_helper_start(struct klp_remote *r, unsigned wait_ms, struct klp_error *e)
{
	struct klp_borrowed who;
	uint64_t until;
	int32_t result = 0;
	uint32_t helper = 0;
	int rc;

	r->helper = 0;
	rc = klp_remote_settle(r, e);
	if (rc || r->helper)
		return rc;
	rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, borrow_result)), &result, 4, e);
	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, helper_tid)), &helper, 4, e);
	if (!rc)
		rc = klp_borrow_helper(r, wait_ms, &who, e);
	if (rc)
		return rc;
	until = klp_remote_now() + KLP_HELPER_NS;
	for (;;) {
		rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, borrow_result)), &result, 4, e);
		if (!rc)
			rc =
			    klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, helper_tid)), &helper, 4, e);
		if (rc)
			return rc;
		if (result < 0)
			return klp_fail(e, -result, KLP_NO_ROOM,
					"clone in process %d failed: %s (RLIMIT_NPROC, pids cgroup?)", r->p->pid,
					strerror(-result));
		r->helper = helper ? klp_outer_tid(r->p, helper) : 0;
		if (r->helper)
			return 0;
		if (klp_remote_now() > until)
			return klp_fail(e, ETIMEDOUT, KLP_HELPER, "the helper in process %d does not answer",
					r->p->pid);
		klp_remote_pause(KLP_POLL_NS);
	}
}

static int klp_removing_set(struct klp_remote *r, uint32_t removing, struct klp_error *e)
{
	int rc =
	    klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, removing)), &removing, sizeof(removing), e);

	if (!rc)
		r->removing = removing != 0;
	return rc;
}

int klp_remote_start(struct klp_remote *r, unsigned wait_ms, struct klp_error *e)
{
	uint64_t at;
	bool fresh;
	int rc;

	prctl(PR_SET_TIMERSLACK, 1000); /* short waits are short */
	mlockall(MCL_CURRENT);          /* stop windows take no page fault; not permitted to everybody */
	if (r->image && r->removing) {  /* nobody is under way any more (klp_remote_find) */
		rc = klp_removing_set(r, 0, e);
		if (rc)
			return rc;
	}
	if (r->image && r->helper && !klp_remote_ping(r, e))
		return 0;
	rc = klp_chains_settle(r->p, e);
	if (rc > 0) { /* what was found may have come or gone meanwhile */
		struct klp_remote again;

		rc = klp_process_refresh(r->p, e);
		if (!rc)
			rc = klp_remote_find(r->p, &again, e);
		if (rc)
			return rc;
		again.threads_stopped = r->threads_stopped;
		again.longest_stop_ns = r->longest_stop_ns;
		again.early_returns = r->early_returns;
		again.priv = r->priv;
		*r = again;
	}
	if (rc < 0)
		return rc;
	fresh = r->image == 0;
	if (fresh) {
		struct klp_borrowed who = {0};

		rc = klp_core_unfinished_find(r->p, &at, e);
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
		if (rc) {
			r->image = r->cb = 0;
			return rc;
		}
	} else if (r->adopted) {
		rc = klp_cb_adopt(r, e);
		if (rc)
			return rc;
	}
	rc = klp_helper_start(r, wait_ms, e);
	if (rc && fresh && r->image) { /* a limit, for example: what was just made for it goes again */
		struct klp_error ignored = KLP_ERROR_INIT;

		klp_remote_remove(r, wait_ms, &ignored);
	}
	return rc;
}

/* ---- requests ---- */

static int klp_request_wait(struct klp_remote *r, uint8_t request, struct klp_error *e)
{
	uint64_t until = klp_remote_now() + KLP_REQUEST_NS;

	for (unsigned n = 0;; n++) {
		uint8_t done;
		int rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, done)), &done, 1, e);

		if (rc)
			return rc;
		if (done == request)
			return 0;
		if (n > KLP_SPIN) {
			char path[64];

			klp_remote_pause(KLP_POLL_NS);
			snprintf(path, sizeof(path), "/proc/%d/task/%d", r->p->pid, r->helper);
			if (n % 16 == 0 && access(path, F_OK)) {
				r->helper = 0;
				return klp_fail(e, ESRCH, KLP_HELPER, "the helper in process %d is gone", r->p->pid);
			}
		}
		if (klp_remote_now() > until)
			return klp_fail(e, ETIMEDOUT, KLP_HELPER, "the helper in process %d does not answer",
					r->p->pid);
	}
}

/* A killed tool's request is executed to its end first: its ops must not be overwritten under the helper's hands. */
static int klp_request_settle(struct klp_remote *r, uint8_t *done, struct klp_error *e)
{
	uint8_t request;
	int rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, request)), &request, 1, e);

	if (!rc)
		rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, done)), done, 1, e);
	if (rc || *done == request)
		return rc;
	if (!r->helper)
		rc = klp_helper_start(r, 5000, e);
	if (!rc)
		rc = klp_request_wait(r, request, e);
	*done = request;
	return rc;
}

/* The helper showed no tid behind the request: it had left before, or executed it and left, as it may have been told
 * to, or is about to. Only a request that is still there then is for a successor. */
static int klp_request_orphaned(struct klp_remote *r, uint8_t request, struct klp_error *e)
{
	uint8_t done;
	int rc;

	r->helper = 0;
	rc = klp_remote_settle(r, e);
	if (!rc && !r->helper)
		rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, done)), &done, 1, e);
	if (rc || r->helper || done == request)
		return rc;
	return klp_helper_start(r, 5000, e);
}

int klp_remote_run(struct klp_remote *r, struct klp_rt_op *ops, size_t count, struct klp_error *e)
{
	uint32_t n = (uint32_t)count, helper;
	uint8_t request;
	int rc;

	if (!count || count > KLP_MAX_OPS)
		return count ? klp_fail(e, E2BIG, KLP_LIMIT, "%zu operations in one request", count) : 0;
	rc = klp_request_settle(r, &request, e);
	request++;
	for (size_t i = 0; i < count; i++)
		ops[i].result = 0;
	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, ops)), ops, count * sizeof(*ops),
				       e);
	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, op_count)), &n, sizeof(n), e);
	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, request)), &request, 1, e);
	/* Behind the request: a helper that leaves looks for one after it has taken its tid away (pairs with
	 * klp/runtime/helper.c). */
	if (!rc)
		rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, helper_tid)), &helper,
				      sizeof(helper), e);
	if (rc)
		return rc;
	if (!helper || !r->helper) {
		rc = klp_request_orphaned(r, request, e);
		if (rc)
			return rc;
	}
	rc = klp_request_wait(r, request, e);
	if (rc)
		return rc;
	rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, ops)), ops, count * sizeof(*ops), e);
	for (size_t i = 0; i < count && !rc; i++)
		if (ops[i].result < 0 && ops[i].code != KLP_OP_SYSCALL && ops[i].code != KLP_OP_INSERT)
			rc = klp_fail(e, (int)-ops[i].result, ops[i].code == KLP_OP_MAP ? KLP_NO_ROOM : KLP_HELPER,
				      "operation %u in process %d: %s", ops[i].code, r->p->pid,
				      strerror((int)-ops[i].result));
	return rc;
}

int klp_remote_ping(struct klp_remote *r, struct klp_error *e)
{
	struct klp_rt_op op = {.code = KLP_OP_SYSCALL, .a = {SYS_gettid}};

	return klp_remote_run(r, &op, 1, e);
}

int klp_remote_sync(struct klp_remote *r, struct klp_error *e)
{
	struct klp_rt_op op = {.code = KLP_OP_SYNC};

	return klp_remote_run(r, &op, 1, e);
}

int klp_remote_map(struct klp_remote *r, uint64_t addr, uint64_t size, uint32_t prot, uint32_t owner,
		   struct klp_error *e)
{
	struct klp_rt_map maps[KLP_MAX_MAPS];
	struct klp_rt_op op = {.code = KLP_OP_MAP, .a = {addr, size, prot, 0, owner}};
	unsigned i;
	int rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, maps)), maps, sizeof(maps), e);

	if (rc)
		return rc;
	for (i = 0; i < KLP_MAX_MAPS && maps[i].live; i++)
		;
	if (i == KLP_MAX_MAPS)
		return klp_fail(e, ENOSPC, KLP_LIMIT, "all %u mapping records are in use", KLP_MAX_MAPS);
	op.a[3] = i;
	rc = klp_remote_run(r, &op, 1, e);
	return rc ? rc : (int)i;
}

int klp_remote_unmap(struct klp_remote *r, unsigned map_index, struct klp_error *e)
{
	struct klp_rt_op op = {.code = KLP_OP_UNMAP, .a = {map_index}};

	return klp_remote_run(r, &op, 1, e);
}

static void klp_helper_release(struct klp_remote *r)
{
	int status;

	if (!r->helper_seized)
		return;
	r->helper_seized = false;
	if (!ptrace(PTRACE_INTERRUPT, r->helper, NULL, NULL) && waitpid(r->helper, &status, __WALL) == r->helper &&
	    WIFSTOPPED(status))
		ptrace(PTRACE_DETACH, r->helper, NULL, NULL);
}

int klp_remote_write_text(struct klp_remote *r, uint64_t addr, const void *buf, size_t len, struct klp_error *e)
{
	int rc = klp_process_write_text(r->p, addr, buf, len, e), fd;
	char path[64];
	ssize_t n;

	if (rc != -EIO && rc != -EPERM && rc != -EACCES)
		return rc;
	/* A hardened kernel: be the helper's tracer while writing. */
	if (!r->helper || ptrace(PTRACE_SEIZE, r->helper, NULL, NULL))
		return rc;
	r->helper_seized = true;
	/* The file of the thread that is seized: the kernel asks whose it is. */
	snprintf(path, sizeof(path), "/proc/%d/task/%d/mem", r->p->pid, r->helper);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		n = pwrite(fd, buf, len, (off_t)addr);
		rc = n >= 0 && (size_t)n == len ? 0
						: klp_fail(e, n < 0 ? errno : EFAULT, KLP_PERMISSION,
							   "writing %zu bytes of text in process %d: %s", len,
							   r->p->pid, strerror(n < 0 ? errno : EFAULT));
		close(fd);
	}
	klp_helper_release(r);
	return rc;
}

/* ---- leaving ---- */

int klp_remote_stop(struct klp_remote *r, struct klp_error *e)
{
	struct klp_rt_op op = {.code = KLP_OP_EXIT};
	uint64_t until;
	char path[64];
	int rc;

	if (!r->helper)
		return 0;
	rc = klp_remote_run(r, &op, 1, e);
	if (rc && e->reason != KLP_HELPER)
		return rc;
	until = klp_remote_now() + KLP_HELPER_NS;
	snprintf(path, sizeof(path), "/proc/%d/task/%d", r->p->pid, r->helper);
	while (r->helper && !access(path, F_OK)) {
		if (klp_remote_now() > until)
			return klp_fail(e, ETIMEDOUT, KLP_HELPER, "the helper in process %d does not leave", r->p->pid);
		klp_remote_pause(KLP_POLL_NS);
	}
	r->helper = 0;
	return 0;
}

static int klp_core_unmap(struct klp_remote *r, uint64_t at, unsigned wait_ms, struct klp_error *e)
{
	const struct klp_borrow_call call = {SYS_munmap, {at, KLP_CORE_SIZE}};
	struct klp_borrowed who;
	uint64_t until;
	int rc = klp_borrow_calls(r, &call, 1, wait_ms, &who, e);

	if (rc)
		return rc;
	until = klp_remote_now() + KLP_MAP_APPEAR_NS;
	do {
		struct klp_error ignored = KLP_ERROR_INIT;
		char probe;

		if (klp_process_read(r->p, at, &probe, 1, &ignored))
			return klp_process_refresh(r->p, e);
		klp_remote_pause(KLP_POLL_NS);
	} while (klp_remote_now() < until);
	return klp_fail(e, ETIMEDOUT, KLP_NO_BORROW, "munmap in process %d did not happen", r->p->pid);
}

int klp_remote_remove(struct klp_remote *r, unsigned wait_ms, struct klp_error *e)
{
	uint64_t at;
	int rc;

	if (!r->image)
		return 0;
	rc = klp_remote_stop(r, e);

	if (!rc)
		rc = klp_remote_settle(r, e);
	if (!rc && r->helper)
		rc = klp_fail(e, EBUSY, KLP_BUSY, "the helper in process %d is at work", r->p->pid);
	if (!rc)
		rc = klp_chains_settle(r->p, e);
	if (rc >= 0)
		rc = klp_process_refresh(r->p, e);
	if (!rc && !klp_process_mapping(r->p, r->image)) { /* a killed tool's thread did it */
		r->image = r->cb = 0;
		return 0;
	}
	if (!rc)
		rc = klp_removing_set(r, 1, e);
	if (rc)
		return rc;
	rc = klp_core_unmap(r, r->image, wait_ms, e);
	if (rc) {
		struct klp_error ignored = KLP_ERROR_INIT;

		if (e->reason == KLP_NO_BORROW && e->err == EAGAIN) /* nobody was sent */
			klp_removing_set(r, 0, &ignored);
		return rc;
	}
	r->image = r->cb = 0;
	/* And what tools left that were killed before they wrote anything there. */
	while (!rc) {
		rc = klp_core_unfinished_find(r->p, &at, e);
		if (rc || !at)
			break;
		rc = klp_core_unmap(r, at, wait_ms, e);
	}
	return rc;
}

struct klp_look {
	struct klp_remote *r;
	pid_t tid;
	klp_look_fn look;
	void *ctx;
	struct klp_error *e;
};

static int klp_look_stopped(void *arg)
{
	const struct klp_look *l = arg;
	struct klp_unw_regs regs = {0};
	struct klp_stop st;
	int rc = klp_stop_begin(l->r, l->tid, &st, l->e);

	if (rc <= 0)
		return rc;
	klp_registers_for_unwind(&st.regs, &regs);
	l->look(l->ctx, l->tid, &regs, klp_registers_thread_pointer(&st.regs));
	klp_stop_end(&st);
	return 1;
}

int klp_remote_interrupt(struct klp_remote *r, pid_t tid, klp_look_fn look, void *ctx, struct klp_error *e)
{
	struct klp_look l = {r, tid, look, ctx, e};

	return klp_guard_run(r->p, tid, klp_look_stopped, &l, e);
}
