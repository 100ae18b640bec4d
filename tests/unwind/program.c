/* SPDX-License-Identifier: Apache-2.0 */
/* What the oracle steps through: each way of using a stack that a C program has. */
#include <alloca.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile int sink;
static jmp_buf env;
static sigjmp_buf sigenv;

__attribute__((noinline)) static int recurse(int n)
{
	return n < 2 ? n : recurse(n - 1) + recurse(n - 2);
}

__attribute__((noinline)) static int on_alloca(int n)
{
	char *p = alloca((size_t)n * 16 + 16);

	memset(p, n, (size_t)n * 16 + 16);
	sink += p[n];
	return n ? on_alloca(n - 1) + p[0] : 0;
}

__attribute__((noinline)) static int sum(int n, ...)
{
	va_list ap;
	int s = 0;

	va_start(ap, n);
	while (n--)
		s += va_arg(ap, int);
	va_end(ap);
	return s;
}

__attribute__((noinline)) static int realigned(int n)
{
	_Alignas(64) volatile char block[128];
	char *more = alloca((size_t)n + 1);

	block[n & 127] = (char)n;
	more[n] = 1;
	return recurse(5) + block[n & 127] + more[n];
}

static int compare(const void *a, const void *b)
{
	return recurse(3) * 0 + *(const int *)a - *(const int *)b;
}

__attribute__((noinline)) static int tail_b(int n)
{
	sink += n;
	return recurse(n & 3);
}

__attribute__((noinline)) static int tail_a(int n)
{
	sink++;
	return tail_b(n + 1);
}

__attribute__((noinline)) static void jump(int n)
{
	if (!n)
		longjmp(env, 1);
	jump(n - 1);
	sink++;
}

static void handler(int sig)
{
	sink += recurse(4) + sig;
}

static void jumper(int sig)
{
	sink += sig;
	siglongjmp(sigenv, 1);
}

/*
 * clang 14 moves the last addition to the stack pointer above the comparison of a conditional tail call, and its row
 * comes two instructions too late.
 */
struct late {
	void *p;
	char in[16];
};

__attribute__((noinline)) int touch(struct late *v, long a, long b, long i)
{
	v->in[i & 15] = (char)(a + b);
	return sink;
}

__attribute__((noinline)) void late_row(struct late *v, long a, long b)
{
	for (long i = 0; i < a; i++)
		touch(v, a, b, i);
	if (v->p != v->in)
		free(v->p);
}

/*
 * Calls late_row with an address of elsewhere just above the return address: a walk that is 8 bytes off finds a caller
 * that makes sense, and the wrong one.
 */
void beside(struct late *v, long a, long b);
__asm__(".text\n"
	"elsewhere: .cfi_startproc\n\t"
	"push %rbp\n\t.cfi_def_cfa_offset 16\n\t.cfi_offset 6, -16\n\t"
	"mov %rsp, %rbp\n\t.cfi_def_cfa_register 6\n\t"
	"nop\n"
	"inside: nop\n\t"
	"pop %rbp\n\t.cfi_def_cfa 7, 8\n\t"
	"ret\n\t.cfi_endproc\n"
	".globl beside\n"
	"beside: .cfi_startproc\n\t"
	"push %rbp\n\t.cfi_def_cfa_offset 16\n\t.cfi_offset 6, -16\n\t"
	"mov %rsp, %rbp\n\t.cfi_def_cfa_register 6\n\t"
	"lea inside(%rip), %rax\n\t"
	"push %rax\n\t"
	"push %rax\n\t"
	"call late_row\n\t"
	"leave\n\t.cfi_def_cfa 7, 8\n\t"
	"ret\n\t.cfi_endproc\n");

int main(void)
{
	int v[24];
	char text[128];
	stack_t ss = {.ss_sp = malloc(65536), .ss_size = 65536};
	struct sigaction sa = {.sa_handler = handler};

	sink += recurse(9) + on_alloca(9) + sum(7, 1, 2, 3, 4, 5, 6, 7) + realigned(33) + tail_a(5);
	beside(&(struct late){.p = malloc(8)}, 3, 4);
	for (int i = 0; i < 24; i++)
		v[i] = (i * 37) % 24;
	qsort(v, 24, sizeof(v[0]), compare);
	if (!setjmp(env))
		jump(5);
	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);
	sigaltstack(&ss, NULL);
	sa.sa_flags = SA_ONSTACK;
	sigaction(SIGUSR2, &sa, NULL);
	raise(SIGUSR2);
	sa.sa_handler = jumper;
	sa.sa_flags = 0;
	sigaction(SIGUSR1, &sa, NULL);
	if (!sigsetjmp(sigenv, 1))
		raise(SIGUSR1);
	snprintf(text, sizeof(text), "%d %s %g %lu", sink, "text", 1.5 * sink, (unsigned long)strlen("abc"));
	return (int)strlen(text) == 0;
}
