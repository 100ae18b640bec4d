/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program whose answer a module changes. It begins without the C library's start files where GUARDED says that its
 * text is guarded (PROT_BTI), for those have no landing pads. argv[1]: how many seconds it lives at most.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef GUARDED
__asm__("	.globl	_start\n"
	"_start:\n"
	"	.cfi_startproc\n"
	"	.cfi_undefined 30\n"
	"	bti	c\n"
	"	mov	x29, #0\n"
	"	mov	x30, #0\n"
	"	mov	x5, x0\n"
	"	ldr	x1, [sp]\n"
	"	add	x2, sp, #8\n"
	"	mov	x6, sp\n"
	"	adrp	x0, main\n"
	"	add	x0, x0, :lo12:main\n"
	"	mov	x3, #0\n"
	"	mov	x4, #0\n"
	"	bl	__libc_start_main\n"
	"	.cfi_endproc\n");
#endif

#define WORKERS 2

int calls;
static volatile int wrong;

__attribute__((noinline)) int add_one(int x)
{
	__asm__ volatile("" ::: "memory");
	return x + 1;
}

/* Only called directly: guarded code has no landing pad here. */
static __attribute__((noinline)) int twice(int x)
{
	__asm__ volatile("" ::: "memory");
	return 2 * x;
}

__attribute__((noinline)) int answer(int x)
{
	__atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
	return add_one(x) + twice(x) + 40;
}

/* All registers that hold arguments, and more arguments on the stack. */
__attribute__((noinline)) double sum(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j, double x,
				     double y)
{
	calls++;
	return a + b + c + d + e + f + g + h + i + j + x + y;
}

static void *worker(void *arg)
{
	for (;;) {
		double s = sum(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0.5, 0.25);

		if (s != 55.75 && s != 155.75)
			wrong = 1;
		usleep(500);
	}
	return arg;
}

/* Waits where a thread can be borrowed. */
static void *waiter(void *arg)
{
	int end[2];
	char c;

	if (pipe(end) || read(end[0], &c, 1) < 0)
		exit(3);
	return arg;
}

int main(int argc, char **argv)
{
	int seconds = argc > 1 ? atoi(argv[1]) : 1, last = -1;
	pthread_t t;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (pthread_create(&t, NULL, waiter, NULL))
		return 3;
	for (int i = 0; i < WORKERS; i++)
		if (pthread_create(&t, NULL, worker, NULL))
			return 3;
	for (int i = 0; i < seconds * 200; i++) {
		int now = answer(1);

		if (wrong) {
			printf("wrong\n");
			return 1;
		}
		if (now != last)
			printf("%d\n", now);
		last = now;
		usleep(5000);
	}
	return 0;
}
