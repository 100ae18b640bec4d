/* SPDX-License-Identifier: Apache-2.0 */
/* What the helper is asked: klp/remote.h. */
#include "klp/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "klp/clock.h"
#include "klp/core.h"
#include "klp/escort.h"
#include "klp/helper.h"
#include "klp/permit.h"
#include "klp/settle.h"
#include "klp/wake.h"

#define KLP_REQUEST_NS 10000000000ull
#define KLP_START_MS 5000u /* for another helper, where the first has left */
#define KLP_POLL_NS 20000ull
#define KLP_SPIN 200u
#define KLP_GONE_NS 100000000ull
/* A helper that was woken has to get a processor to show that, and another stop would take it from there: the next one
 * comes later each time. */
#define KLP_AWAKE_NS 1000000ull
#define KLP_AWAKE_MAX_NS 64000000ull

/* It ends with its process alone. exec ends all other threads first and gives the memory up then: said is what is the
 * matter with the process, if that can be seen soon. */
static int klp_request_helper_gone(struct klp_remote *r, struct klp_error *e)
{
	uint64_t until = klp_clock_now() + KLP_GONE_NS;
	int rc = 0;

	r->helper = 0;
	while (!rc && klp_clock_now() < until) {
		uint8_t done;

		klp_clock_pause(KLP_POLL_NS);
		rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, done)), &done, 1, e);
	}
	return rc ? rc : klp_fail(e, ESRCH, KLP_HELPER, "the helper in process %d is gone", r->p->pid);
}

static int klp_request_wait(struct klp_remote *r, uint8_t request, struct klp_error *e)
{
	const uint64_t until = klp_clock_now() + KLP_REQUEST_NS;
	uint64_t wake = 0, awake = KLP_AWAKE_NS;

	for (unsigned n = 0;; n++) {
		struct {
			uint8_t done, asleep;
		} now;
		int rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, done)), &now, sizeof(now), e);

		if (rc)
			return rc;
		if (now.done == request)
			return 0;
		klp_escort_serve(r);
		if (now.asleep && klp_clock_now() > wake) {
			klp_wake(r);
			wake = klp_clock_now() + awake;
			if (awake < KLP_AWAKE_MAX_NS)
				awake *= 2;
		}
		if (n > KLP_SPIN) {
			char path[64];

			klp_clock_pause(KLP_POLL_NS);
			snprintf(path, sizeof(path), "/proc/%d/task/%d", r->p->pid, r->helper);
			if (n % 16 == 0 && access(path, F_OK))
				return klp_request_helper_gone(r, e);
		}
		if (klp_clock_now() > until)
			return klp_fail(e, ETIMEDOUT, KLP_HELPER, "the helper in process %d does not answer",
					r->p->pid);
	}
}

/* Where it can't be escorted it is there all the same. */
static int klp_request_start(struct klp_remote *r, struct klp_error *e)
{
	int rc = klp_helper_start(r, KLP_START_MS, e);

	if (!rc)
		klp_escort_seize(r);
	return rc;
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
		rc = klp_request_start(r, e);
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
	rc = klp_settle_core(r, e);
	if (!rc && !r->helper)
		rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, done)), &done, 1, e);
	if (rc || r->helper || done == request)
		return rc;
	return klp_request_start(r, e);
}

struct klp_request {
	struct klp_rt_op *ops;
	size_t count;
	bool permit; /* there are other filters than klp_permit has seen */
};

static int klp_request_post(struct klp_remote *r, const struct klp_request *q, uint8_t request, struct klp_error *e)
{
	uint32_t n = (uint32_t)q->count, helper;
	int rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, ops)), q->ops,
				   q->count * sizeof(*q->ops), e);

	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, op_count)), &n, sizeof(n), e);
	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, request)), &request, 1, e);
	/* Behind the request: a helper that leaves looks for one after it has taken its tid away (pairs with
	 * klp/runtime/helper.c). */
	if (!rc)
		rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, helper_tid)), &helper,
				      sizeof(helper), e);
	if (!rc && (!helper || !r->helper))
		rc = klp_request_orphaned(r, request, e);
	return rc;
}

static int klp_request_escorted(struct klp_remote *r, void *arg, struct klp_error *e)
{
	struct klp_request *q = arg;
	uint8_t request;
	int rc;

	q->permit = !klp_permit_holds(r);
	if (q->permit)
		return 0;
	/* First: what is owed is executed by the helper too. */
	rc = klp_request_settle(r, &request, e);
	if (rc)
		return rc;
	request++;
	for (size_t i = 0; i < q->count; i++)
		q->ops[i].result = 0;
	rc = klp_request_post(r, q, request, e);
	if (!rc)
		rc = klp_request_wait(r, request, e);
	return rc ? rc
		  : klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, ops)), q->ops,
				     q->count * sizeof(*q->ops), e);
}

/* The patch author's own code may take long, and what a killed tool has left to be done may be that. */
static bool klp_request_is_brief(struct klp_remote *r, const struct klp_rt_op *ops, size_t count)
{
	struct klp_error ignored = KLP_ERROR_INIT;

	for (size_t i = 0; i < count; i++)
		if (ops[i].code == KLP_OP_CALL)
			return false;
	return !klp_remote_owed(r, &ignored);
}

int klp_remote_run(struct klp_remote *r, struct klp_rt_op *ops, size_t count, struct klp_error *e)
{
	struct klp_request q = {.ops = ops, .count = count};
	bool brief;
	int rc;

	if (!count || count > KLP_MAX_OPS)
		return count ? klp_fail(e, E2BIG, KLP_LIMIT, "%zu operations in one request", count) : 0;
	brief = klp_request_is_brief(r, ops, count);
	/* Each filter is seen once, and the kernel bounds how many there can be. */
	do {
		rc = klp_permit(r, e);
		if (!rc)
			rc = klp_escort_run(r, brief, klp_request_escorted, &q, e);
	} while (!rc && q.permit);
	for (size_t i = 0; i < count && !rc; i++)
		if (ops[i].result < 0 && ops[i].code != KLP_OP_SYSCALL && ops[i].code != KLP_OP_INSERT)
			rc = klp_fail(e, (int)-ops[i].result, ops[i].code == KLP_OP_MAP ? KLP_NO_ROOM : KLP_HELPER,
				      "operation %u in process %d: %s", ops[i].code, r->p->pid,
				      strerror((int)-ops[i].result));
	return rc;
}

int klp_remote_owed(struct klp_remote *r, struct klp_error *e)
{
	uint8_t request, done;
	int rc;

	if (!r->image || r->removing || r->adopted)
		return 0; /* what a fork's child has of one was its parent's */
	rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, request)), &request, 1, e);
	if (!rc)
		rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, done)), &done, 1, e);
	return rc ? rc : request != done;
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

/* The kernel answers EIO where it forbids such writes and where nothing is mapped (any more): what can't be read either
 * is not there, and the reader's error says so. */
static int klp_text_refused(const struct klp_process *p, uint64_t addr, size_t len, int err, struct klp_error *e)
{
	uint8_t there;
	int rc = klp_process_read(p, addr, &there, 1, e);

	if (!rc && len > 1)
		rc = klp_process_read(p, addr + len - 1, &there, 1, e);
	return rc ? rc
		  : klp_fail(e, err, KLP_PERMISSION, "writing %zu bytes of text in process %d: %s", len, p->pid,
			     strerror(err));
}

struct klp_text {
	uint64_t addr;
	const void *buf;
	size_t len;
};

/* A hardened kernel lets the tracer write, by the file of the thread that it traces. */
static int klp_text_escorted(struct klp_remote *r, void *arg, struct klp_error *e)
{
	const struct klp_text *t = arg;
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/mem", r->p->pid, r->helper);
	fd = r->escorted ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		return klp_text_refused(r->p, t->addr, t->len, r->escorted ? errno : EPERM, e);
	n = pwrite(fd, t->buf, t->len, (off_t)t->addr);
	n = n < 0 ? -errno : n;
	close(fd);
	return n >= 0 && (size_t)n == t->len ? 0 : klp_text_refused(r->p, t->addr, t->len, n < 0 ? (int)-n : EFAULT, e);
}

int klp_remote_write_text(struct klp_remote *r, uint64_t addr, const void *buf, size_t len, struct klp_error *e)
{
	struct klp_text t = {addr, buf, len};
	int rc = klp_process_write_text(r->p, addr, buf, len, e);

	if (rc != -EIO && rc != -EPERM && rc != -EACCES)
		return rc;
	rc = klp_text_refused(r->p, addr, len, -rc, e);
	return e->reason != KLP_PERMISSION || !r->helper ? rc : klp_escort_run(r, false, klp_text_escorted, &t, e);
}
