/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the workers and waits with them. The kinds to be made come as one word of letters from the driver. */
#include <fcntl.h>
#include <linux/futex.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shapes.h"

#define STACK (256u << 10)
#define BUFFER (256u << 10)
#define BORN 4

struct torture_shared *torture_page;
struct worker torture_worker[TORTURE_WORKERS];
unsigned torture_workers;
static unsigned made;

static void mismatch(struct worker *w, unsigned group, unsigned inner, unsigned where)
{
	struct torture_shared *s = w->shared;
	uint32_t i = __atomic_fetch_add(&s->reported, 1, __ATOMIC_ACQ_REL);

	torture_count(&s->mixed);
	torture_count(&w->out->harm);
	if (i < TORTURE_REPORTS)
		s->report[i] = (struct torture_report){(uint32_t)getpid(),
						       (uint32_t)gettid(),
						       w->out->kind,
						       group,
						       w->version[group],
						       inner,
						       where,
						       w->child};
}

static void give_up(const char *what)
{
	perror(what);
	exit(3);
}

static struct worker *make(enum torture_kind kind)
{
	struct worker *w = &torture_worker[made];
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)(uintptr_t)w};

	if (made == TORTURE_WORKERS) {
		fputs("too many workers\n", stderr);
		exit(3);
	}
	w->shared = torture_page;
	w->out = &torture_page->worker[made];
	w->out->kind = kind;
	w->mismatch = mismatch;
	w->recursion = 2;
	w->random = 0x9e3779b97f4a7c15ull * (made + 1);
	w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->poll = epoll_create1(EPOLL_CLOEXEC);
	if (w->event < 0 || w->poll < 0 || epoll_ctl(w->poll, EPOLL_CTL_ADD, w->event, &e) ||
	    pipe2(w->message, O_CLOEXEC) || fcntl(w->message[1], F_SETFL, O_NONBLOCK) || pipe2(w->stream, O_CLOEXEC))
		give_up("worker");
	w->buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (w->buffer == MAP_FAILED)
		give_up("buffer");
	made++;
	return w;
}

static void start(struct worker *w)
{
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_attr_t attr;
	pthread_t t;

	if (stack == MAP_FAILED)
		give_up("stack");
	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, stack, STACK);
	if (pthread_create(&t, &attr, torture_shape, w))
		give_up("thread");
	pthread_attr_destroy(&attr);
}

/*
 * The kernel's word of where this thread keeps its robust mutexes says no more where its control block is: the tid's
 * place in there cannot be known, and every dispatch asks the kernel.
 */
static void hide_tid(void)
{
	static struct robust_list_head head = {{&head.list}, 0, NULL};

	if (syscall(SYS_set_robust_list, &head, sizeof(head)))
		give_up("robust list");
}

int main(int argc, char **argv)
{
	static const char letter[] = "mrfesixhkbvcowpgj"; /* in the order of enum torture_kind */
	struct worker *me, *feeder, *drain = NULL;
	unsigned parking = 0;

	if (argc < 2)
		return 0; /* what an exec of the torture runs */
	torture_page = mmap(NULL, sizeof(*torture_page), PROT_READ | PROT_WRITE, MAP_SHARED, TORTURE_FD, 0);
	if (torture_page == MAP_FAILED)
		give_up("shared memory");
	fcntl(TORTURE_FD, F_SETFD, FD_CLOEXEC);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	mallopt(M_ARENA_MAX, 1);
	torture_signals_init();
	me = make(KIND_MAIN);
	parking++;
	for (const char *p = argv[1]; *p; p++) {
		const char *at = strchr(letter, *p);

		if (*p == 'u') {
			hide_tid();
			continue;
		}
		if (!at) {
			fprintf(stderr, "no kind %c\n", *p);
			return 3;
		}
		make((enum torture_kind)(at - letter));
		parking++;
		if (*p == 'b')
			for (unsigned i = 0; i < BORN; i++)
				make(KIND_BORN);
		if (*p == 'w')
			drain = make(KIND_DRAIN);
	}
	torture_workers = made;
	feeder = make(KIND_FEEDER);
	for (unsigned i = 1; i < torture_workers; i++)
		if (torture_worker[i].out->kind != KIND_BORN && &torture_worker[i] != drain)
			start(&torture_worker[i]);
	if (drain)
		start(drain);
	start(feeder);
	start(make(KIND_SIGNALLER));
	__atomic_store_n(&torture_page->threads, parking + 1, __ATOMIC_RELEASE);
	torture_shape(me);
	return 0;
}
