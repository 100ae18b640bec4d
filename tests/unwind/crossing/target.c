/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that single-steps its own main thread, by the processor's trap flag, and shows each state to the oracle.
 * Not with ptrace: klp refuses a program that is traced, and this one is patched while it steps. The main thread calls
 * patched functions all the time, also from signal handlers on both stacks, which come at instructions of the oracle's
 * choice. Another thread sits in a patched function when it is told to, so that a transition waits, and a third one is
 * idle. For stepping.sh it only steps: "runs" all the time, "waits" nearly all the time in a system call.
 */
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "functions.h"
#include "page.h"

static struct crossing_page *page;
static int channel[2];
static volatile int sink;
static sigjmp_buf again;

/* Between two instructions of the main thread; everything is blocked. */
static void trap(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	(void)sig;
	(void)info;
	if (!page)
		return;
	memcpy(page->reg, u->uc_mcontext.gregs, sizeof(page->reg));
	__atomic_store_n(&page->turn, CROSSING_ASKS, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &page->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
	while (__atomic_load_n(&page->turn, __ATOMIC_SEQ_CST) == CROSSING_ASKS)
		syscall(SYS_futex, &page->turn, FUTEX_WAIT, CROSSING_ASKS, NULL, NULL, 0);
	if (page->inject)
		syscall(SYS_tgkill, getpid(), page->tid, (int)page->inject);
}

__attribute__((used)) static void on_signal(int sig)
{
	sink += answer(sig) + pair(2);
	if (page->jump)
		siglongjmp(again, 1);
}

/* The kernel clears the trap flag on the way to a handler. */
void enter_handler(int sig);
extern const char handler_steps[];
__asm__(".text\n"
	".globl enter_handler, handler_steps\n"
	"enter_handler: .cfi_startproc\n\t"
	"pushfq\n\t.cfi_adjust_cfa_offset 8\n\t"
	"orq $0x100, (%rsp)\n\t"
	"popfq\n\t.cfi_adjust_cfa_offset -8\n\t"
	"nop\n"
	"handler_steps: jmp on_signal\n\t"
	".cfi_endproc\n");

static void *sits(void *arg)
{
	for (;;) {
		while (!__atomic_load_n(&page->inside, __ATOMIC_SEQ_CST))
			usleep(1000);
		__atomic_store_n(&page->is_inside, 1, __ATOMIC_SEQ_CST);
		sink += inside(channel[0]);
		__atomic_store_n(&page->is_inside, 0, __ATOMIC_SEQ_CST);
	}
	return arg;
}

/* Lets the sitting thread out. */
static void *opens(void *arg)
{
	for (;;) {
		if (!page->inside && page->is_inside) {
			if (write(channel[1], "", 1) != 1)
				abort();
			while (page->is_inside)
				usleep(1000);
		}
		usleep(1000);
	}
	return arg;
}

static void *idles(void *arg)
{
	for (;;)
		pause();
	return arg;
}

__attribute__((noinline)) static void loop(void)
{
	sigsetjmp(again, 1);
	while (!page->stop) {
		sink += answer(1) + pair(3) + deep(1);
		page->calls++;
	}
}

/* One thread, stepping itself: whoever wants a thread must take it as it is. */
__attribute__((noreturn)) static void alone(bool waits)
{
	struct sigaction sa = {.sa_sigaction = trap, .sa_flags = SA_SIGINFO};

	sigaction(SIGTRAP, &sa, NULL);
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
	for (;;) {
		sink += answer(1) + pair(3);
		if (waits)
			poll(NULL, 0, -1);
	}
}

int main(int argc, char **argv)
{
	const stack_t ss = {.ss_sp = malloc(65536), .ss_size = 65536};
	struct sigaction sa = {.sa_sigaction = trap, .sa_flags = SA_SIGINFO};
	void *(*const start[])(void *) = {sits, opens, idles};
	pthread_t t;

	if (argc == 2 && (!strcmp(argv[1], "runs") || !strcmp(argv[1], "waits")))
		alone(!strcmp(argv[1], "waits"));
	if (argc != 2 || pipe(channel))
		return 2;
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, atoi(argv[1]), 0);
	if (page == MAP_FAILED)
		return 2;
	for (int i = 0; i < 3; i++)
		if (pthread_create(&t, NULL, start[i], NULL))
			return 2;
	page->tid = (uint32_t)getpid();
	page->tp = (uint64_t)pthread_self();
	page->handler = (uint64_t)handler_steps;
	sigfillset(&sa.sa_mask);
	sigaction(SIGTRAP, &sa, NULL);
	sigaltstack(&ss, NULL);
	sa = (struct sigaction){.sa_handler = enter_handler};
	sigaction(SIGUSR1, &sa, NULL);
	sa.sa_flags = SA_ONSTACK;
	sigaction(SIGUSR2, &sa, NULL);
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
	loop();
	__asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "memory", "cc");
	return 0;
}
