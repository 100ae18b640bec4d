/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/sample.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define KLP_SAMPLE_PERIOD_NS 20000u /* of the thread's own time on a processor */
#define KLP_SAMPLE_RING 65536u      /* a record is shorter than that (perf_event_header.size), a power of two */

/* A cursor over one record. */
struct klp_record {
	const uint8_t *at;
	size_t left;
};

static bool klp_record_get(struct klp_record *r, void *out, size_t len)
{
	if (len > r->left)
		return false;
	memcpy(out, r->at, len);
	r->at += len;
	r->left -= len;
	return true;
}

/* The fields come in the order of the bits of sample_type: perf_event_open(2), PERF_RECORD_SAMPLE. */
static bool klp_sample_parse(struct klp_record *r, pid_t tid, struct klp_sample *out)
{
	unsigned regs = (unsigned)__builtin_popcountll(klp_sample_mask);
	uint64_t value[KLP_SAMPLE_MAX_REGS], abi, size, valid;
	uint32_t id[2];

	if (!klp_record_get(r, id, sizeof(id)) || id[1] != (uint32_t)tid || !klp_record_get(r, &abi, sizeof(abi)) ||
	    abi != PERF_SAMPLE_REGS_ABI_64 || !klp_record_get(r, value, regs * sizeof(*value)) ||
	    !klp_record_get(r, &size, sizeof(size)) || !size || size > sizeof(out->stack) ||
	    !klp_record_get(r, out->stack, (size_t)size) || !klp_record_get(r, &valid, sizeof(valid)) || valid > size)
		return false;
	memset(&out->regs, 0, sizeof(out->regs));
	klp_sample_registers(value, &out->regs);
	out->len = (size_t)valid; /* what lies behind could not be read: a page that is not there */
	return true;
}

/* The first picture among the records of the ring, which the kernel has not filled twice: it stops after one. */
static int klp_sample_find(const struct perf_event_mmap_page *page, const uint8_t *ring, pid_t tid,
			   struct klp_sample *out)
{
	/* Pairs with the kernel's barrier before it stores data_head (perf_output_put_handle). */
	uint64_t head = __atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE), at = 0;

	while (head <= KLP_SAMPLE_RING && at + sizeof(struct perf_event_header) <= head) {
		struct perf_event_header h;

		memcpy(&h, ring + at, sizeof(h));
		if (h.size < sizeof(h) || h.size > head - at)
			break;
		if (h.type == PERF_RECORD_SAMPLE && (h.misc & PERF_RECORD_MISC_CPUMODE_MASK) == PERF_RECORD_MISC_USER) {
			struct klp_record r = {ring + at + sizeof(h), h.size - sizeof(h)};

			return klp_sample_parse(&r, tid, out) ? 1 : -EPROTO;
		}
		at += h.size;
	}
	return 0;
}

int klp_sample_take(pid_t tid, uint64_t wait_ns, struct klp_sample *out)
{
	struct perf_event_attr attr = {
	    .type = PERF_TYPE_SOFTWARE,
	    .size = sizeof(attr),
	    .config = PERF_COUNT_SW_TASK_CLOCK,
	    .sample_period = KLP_SAMPLE_PERIOD_NS,
	    .sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER,
	    .sample_regs_user = klp_sample_mask,
	    .sample_stack_user = KLP_SAMPLE_STACK,
	    .disabled = 1,
	    .exclude_kernel = 1, /* the interrupt met it in user mode: the registers are those of that instant */
	    .exclude_hv = 1,
	    .wakeup_events = 1,
	};
	size_t page_size = (size_t)sysconf(_SC_PAGESIZE), len = page_size + KLP_SAMPLE_RING;
	struct timespec wait = {(time_t)(wait_ns / 1000000000u), (long)(wait_ns % 1000000000u)};
	int fd = (int)syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC), rc;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint8_t *map;

	if (fd < 0)
		return errno == ESRCH ? 0 : -EPERM;
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		close(fd);
		return -EPERM; /* more memory than perf_event_mlock_kb gives this user */
	}
	/* One picture, then it is silent: one interrupt more than the thread has anyway. */
	rc = ioctl(fd, PERF_EVENT_IOC_REFRESH, 1) ? -errno : 0;
	if (!rc) {
		(void)ppoll(&p, 1, &wait, NULL);
		rc = klp_sample_find((const struct perf_event_mmap_page *)(const void *)map, map + page_size, tid, out);
	}
	munmap(map, len);
	close(fd);
	return rc;
}
