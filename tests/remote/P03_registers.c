/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P03: a borrowed thread's registers and red zone. One target spins in user code, one waits in read(); both hold known
 * values in every register that survives there, and compare them all the time.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

#define RED_ZONE 128u

/* In the order that the code below stores them. */
struct image {
	uint64_t gpr[14]; /* rax rcx rdx rsi rdi r8..r15, rbx */
	uint8_t vector[16][32] __attribute__((aligned(64)));
	uint8_t zone[RED_ZONE];
	uint32_t mxcsr, pad;
	uint8_t x87[10];
} __attribute__((aligned(64)));

struct talk {
	atomic_uint loops, wrong;
	atomic_uint where;
};

static struct talk *talk;
/* Named in the assembly below. */
static struct image want __attribute__((used)), got __attribute__((used));
static uint64_t spin_count __attribute__((used));

/*
 * Loads everything, spins, stores everything. rbp is the frame; rsp stays, the red zone is filled below it. The spin
 * ends after `spin_count` rounds, counted in memory, so that no register is spared.
 */
static __attribute__((noinline, target("avx2"))) void hold(void)
{
	__asm__ volatile(
	    "subq $256, %%rsp\n"
	    "ldmxcsr want+%c[omx](%%rip)\n"
	    "fninit\n fldt want+%c[ox87](%%rip)\n"
	    ".set i, 0\n .rept 16\n .set j, i*8\n movq want+%c[ozone]+j(%%rip), %%rax\n movq %%rax, -128+j(%%rsp)\n "
	    ".set i, i+1\n .endr\n"
	    "vmovdqu want+%c[ovec](%%rip), %%ymm0\n vmovdqu want+%c[ovec]+32(%%rip), %%ymm1\n"
	    "vmovdqu want+%c[ovec]+64(%%rip), %%ymm2\n vmovdqu want+%c[ovec]+96(%%rip), %%ymm3\n"
	    "vmovdqu want+%c[ovec]+128(%%rip), %%ymm4\n vmovdqu want+%c[ovec]+160(%%rip), %%ymm5\n"
	    "vmovdqu want+%c[ovec]+192(%%rip), %%ymm6\n vmovdqu want+%c[ovec]+224(%%rip), %%ymm7\n"
	    "vmovdqu want+%c[ovec]+256(%%rip), %%ymm8\n vmovdqu want+%c[ovec]+288(%%rip), %%ymm9\n"
	    "vmovdqu want+%c[ovec]+320(%%rip), %%ymm10\n vmovdqu want+%c[ovec]+352(%%rip), %%ymm11\n"
	    "vmovdqu want+%c[ovec]+384(%%rip), %%ymm12\n vmovdqu want+%c[ovec]+416(%%rip), %%ymm13\n"
	    "vmovdqu want+%c[ovec]+448(%%rip), %%ymm14\n vmovdqu want+%c[ovec]+480(%%rip), %%ymm15\n"
	    "movq want(%%rip), %%rax\n movq want+8(%%rip), %%rcx\n movq want+16(%%rip), %%rdx\n movq want+24(%%rip), "
	    "%%rsi\n"
	    "movq want+32(%%rip), %%rdi\n movq want+40(%%rip), %%r8\n movq want+48(%%rip), %%r9\n movq want+56(%%rip), "
	    "%%r10\n"
	    "movq want+64(%%rip), %%r11\n movq want+72(%%rip), %%r12\n movq want+80(%%rip), %%r13\n movq "
	    "want+88(%%rip), %%r14\n"
	    "movq want+96(%%rip), %%r15\n movq want+104(%%rip), %%rbx\n"
	    "1: decq spin_count(%%rip)\n jnz 1b\n"
	    "movq %%rax, got(%%rip)\n movq %%rcx, got+8(%%rip)\n movq %%rdx, got+16(%%rip)\n movq %%rsi, "
	    "got+24(%%rip)\n"
	    "movq %%rdi, got+32(%%rip)\n movq %%r8, got+40(%%rip)\n movq %%r9, got+48(%%rip)\n movq %%r10, "
	    "got+56(%%rip)\n"
	    "movq %%r11, got+64(%%rip)\n movq %%r12, got+72(%%rip)\n movq %%r13, got+80(%%rip)\n movq %%r14, "
	    "got+88(%%rip)\n"
	    "movq %%r15, got+96(%%rip)\n movq %%rbx, got+104(%%rip)\n"
	    "vmovdqu %%ymm0, got+%c[ovec](%%rip)\n vmovdqu %%ymm1, got+%c[ovec]+32(%%rip)\n"
	    "vmovdqu %%ymm2, got+%c[ovec]+64(%%rip)\n vmovdqu %%ymm3, got+%c[ovec]+96(%%rip)\n"
	    "vmovdqu %%ymm4, got+%c[ovec]+128(%%rip)\n vmovdqu %%ymm5, got+%c[ovec]+160(%%rip)\n"
	    "vmovdqu %%ymm6, got+%c[ovec]+192(%%rip)\n vmovdqu %%ymm7, got+%c[ovec]+224(%%rip)\n"
	    "vmovdqu %%ymm8, got+%c[ovec]+256(%%rip)\n vmovdqu %%ymm9, got+%c[ovec]+288(%%rip)\n"
	    "vmovdqu %%ymm10, got+%c[ovec]+320(%%rip)\n vmovdqu %%ymm11, got+%c[ovec]+352(%%rip)\n"
	    "vmovdqu %%ymm12, got+%c[ovec]+384(%%rip)\n vmovdqu %%ymm13, got+%c[ovec]+416(%%rip)\n"
	    "vmovdqu %%ymm14, got+%c[ovec]+448(%%rip)\n vmovdqu %%ymm15, got+%c[ovec]+480(%%rip)\n"
	    ".set i, 0\n .rept 16\n .set j, i*8\n movq -128+j(%%rsp), %%rax\n movq %%rax, got+%c[ozone]+j(%%rip)\n "
	    ".set i, i+1\n .endr\n"
	    "stmxcsr got+%c[omx](%%rip)\n fstpt got+%c[ox87](%%rip)\n"
	    "movl $0x1f80, -4(%%rsp)\n ldmxcsr -4(%%rsp)\n"
	    "addq $256, %%rsp\n"
	    :
	    : [omx] "i"(__builtin_offsetof(struct image, mxcsr)), [ox87] "i"(__builtin_offsetof(struct image, x87)),
	      [ozone] "i"(__builtin_offsetof(struct image, zone)), [ovec] "i"(__builtin_offsetof(struct image, vector))
	    : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rbx", "xmm0",
	      "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
	      "xmm13", "xmm14", "xmm15", "memory", "cc");
}

/* read() by the instruction itself: all registers but rax, rcx, r11 are what they were. */
static __attribute__((noinline)) long hold_in_read(int fd, char *c, uint64_t bad[2])
{
	register uint64_t r8 __asm__("r8") = 0x1818181818181818ull, r9 __asm__("r9") = 0x1919191919191919ull,
			     r10 __asm__("r10") = 0x1010101010101010ull, r12 __asm__("r12") = 0x1212121212121212ull,
			     r13 __asm__("r13") = 0x1313131313131313ull, r14 __asm__("r14") = 0x1414141414141414ull,
			     r15 __asm__("r15") = 0x1515151515151515ull, rbx __asm__("rbx") = 0xbbbbbbbbbbbbbbbbull;
	uint64_t vector[2] = {0x0123456789abcdefull, 0xfedcba9876543210ull}, back[2] = {0, 0};
	long rc = 0;

	__asm__ volatile("movdqu %[in], %%xmm7\n movdqu %[in], %%xmm15\n syscall\n movdqu %%xmm7, %[out]\n pxor "
			 "%%xmm15, %%xmm7\n movq %%xmm7, %[diff]\n"
			 : "+a"(rc), "+r"(r8), "+r"(r9), "+r"(r10), "+r"(r12), "+r"(r13), "+r"(r14), "+r"(r15),
			   "+b"(rbx), [out] "=m"(back), [diff] "=m"(bad[1])
			 : "D"((long)fd), "S"(c), "d"(1L), [in] "m"(vector)
			 : "rcx", "r11", "memory", "xmm7", "xmm15");
	bad[0] = (r8 ^ 0x1818181818181818ull) | (r9 ^ 0x1919191919191919ull) | (r10 ^ 0x1010101010101010ull) |
		 (r12 ^ 0x1212121212121212ull) | (r13 ^ 0x1313131313131313ull) | (r14 ^ 0x1414141414141414ull) |
		 (r15 ^ 0x1515151515151515ull) | (rbx ^ 0xbbbbbbbbbbbbbbbbull) | (back[0] ^ vector[0]) |
		 (back[1] ^ vector[1]);
	return rc;
}

static void spin(void)
{
	const long double pi = 3.14159265358979323846L;

	memset(&want, 0, sizeof(want));
	for (unsigned i = 0; i < 14; i++)
		want.gpr[i] = 0x0101010101010101ull * (i + 0x31);
	for (unsigned i = 0; i < 16; i++)
		for (unsigned k = 0; k < 32; k++)
			want.vector[i][k] = (uint8_t)(i * 32 + k * 7 + 1);
	for (unsigned i = 0; i < RED_ZONE; i++)
		want.zone[i] = (uint8_t)(0xa5 ^ i);
	want.mxcsr = 0x1f80u | 0x6000u; /* round towards zero */
	memcpy(want.x87, &pi, sizeof(want.x87));
	for (;;) {
		memset(&got, 0, sizeof(got));
		spin_count = 2000000;
		hold();
		if (memcmp(&got, &want, sizeof(want))) {
			const uint8_t *a = (const uint8_t *)&got, *b = (const uint8_t *)&want;
			unsigned at = 0;

			while (a[at] == b[at])
				at++;
			atomic_store(&talk->where, at);
			atomic_fetch_add(&talk->wrong, 1);
		}
		atomic_fetch_add(&talk->loops, 1);
	}
}

int main(void)
{
	struct tool_result *r = shared(sizeof(*r));
	unsigned count = rounds(120, 1000); /* three borrows each */
	int fds[2], status;
	pid_t pid;

	talk = shared(sizeof(*talk));
	if (!__builtin_cpu_supports("avx2"))
		return TEST_SKIPPED;
	pid = fork_bound();
	if (!pid) {
		spin();
		_exit(1);
	}
	sleep_ms(20);
	tool_cycles(pid, count, 5000, false, r);
	check(!r->rc, "spinning: cycle %u: %s %s", r->cycles, klp_reason_name(r->error.reason), r->error.text);
	sleep_ms(50);
	check(!waitpid(pid, &status, WNOHANG), "the spinning target has ended");
	check(!talk->wrong && talk->loops, "spinning: %u of %u rounds found something changed, at byte %u", talk->wrong,
	      talk->loops, talk->where);
	printf("spinning: %u cycles, %u stops, %u rounds, longest %lu us\n", r->cycles, r->stops, talk->loops,
	       r->longest_stop_ns / 1000);
	finish(pid);

	if (pipe(fds))
		return 1;
	pid = fork_bound();
	if (!pid) {
		uint64_t bad[2] = {0, 0};
		char c = 0;
		long rc = hold_in_read(fds[0], &c, bad);

		_exit(rc == 1 && c == 'y' && !bad[0] && !bad[1] ? 0 : 1);
	}
	sleep_ms(20);
	tool_cycles(pid, count, 5000, false, r);
	check(!r->rc, "in read: cycle %u: %s %s", r->cycles, klp_reason_name(r->error.reason), r->error.text);
	check(write(fds[1], "y", 1) == 1, "write");
	waitpid(pid, &status, 0);
	check(WIFEXITED(status) && !WEXITSTATUS(status), "in read: status %x", (unsigned)status);
	printf("in read: %u cycles, %u stops, longest %lu us\n", r->cycles, r->stops, r->longest_stop_ns / 1000);
	return check_end();
}
