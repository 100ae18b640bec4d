/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P03: a borrowed thread that uses AMX keeps its tiles, whose state it had to ask for: they are the last ones of the
 * extended state, and a thread that has not asked must not get them (klp/arch/x86_64/frame.c). The vectors of the same
 * thread are in front of them and are compared as well.
 */
#include <immintrin.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

#define ARCH_REQ_XCOMP_PERM 0x1023
#define TILE_DATA 18
#define ROWS 16
#define ROW 64
#define SPIN 200000u

/* Intel SDM 1, 18.3: what LDTILECFG reads. */
struct tile_config {
	uint8_t palette, start_row, reserved[14];
	uint16_t row_bytes[16];
	uint8_t rows[16];
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct tile_config) == 64, "one line");

struct talk {
	atomic_uint rounds, wrong;
};

static struct talk *talk;
static uint8_t want[ROWS][ROW] __attribute__((aligned(64))), got[ROWS][ROW] __attribute__((aligned(64)));

/* Nothing is called between the load and the store: all that time the tile is in the processor or in a frame. */
static __attribute__((noinline, target("amx-tile,avx2"))) bool hold(void)
{
	const struct tile_config config = {.palette = 1, .row_bytes = {ROW, ROW}, .rows = {ROWS, ROWS}};
	__m256i vector = _mm256_load_si256((const __m256i *)(const void *)want[3]);

	_tile_loadconfig(&config);
	_tile_loadd(0, want, ROW);
	_tile_loadd(1, want, ROW);
	for (unsigned i = 0; i < SPIN; i++)
		__asm__ volatile("" : "+x"(vector));
	_tile_stored(1, got, ROW);
	_tile_release();
	return !memcmp(want, got, sizeof(want)) &&
	       _mm256_movemask_epi8(_mm256_cmpeq_epi8(vector, *(const __m256i *)(const void *)want[3])) == -1;
}

int main(void)
{
	struct tool_result *r = shared(sizeof(*r));
	int status;
	pid_t pid;

	talk = shared(sizeof(*talk));
	if (!__builtin_cpu_supports("avx2") || syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA)) {
		printf("SKIPPED: this processor or kernel has no AMX\n");
		return TEST_SKIPPED;
	}
	for (unsigned i = 0; i < ROWS; i++)
		for (unsigned k = 0; k < ROW; k++)
			want[i][k] = (uint8_t)(i * 37 + k * 11 + 1);
	pid = fork_bound();
	if (!pid)
		for (;;) {
			if (!hold())
				talk->wrong++;
			talk->rounds++;
			memset(got, 0, sizeof(got));
		}
	sleep_ms(20);
	tool_cycles(pid, rounds(50, 1000), 5000, false, r);
	check(!r->rc, "cycle %u: %s %s", r->cycles, klp_reason_name(r->error.reason), r->error.text);
	sleep_ms(50);
	check(!waitpid(pid, &status, WNOHANG), "the target has ended");
	check(!talk->wrong && talk->rounds, "%u of %u rounds found something changed", talk->wrong, talk->rounds);
	printf("%u cycles, %u stops, %u rounds, longest %lu us\n", r->cycles, r->stops, talk->rounds,
	       r->longest_stop_ns / 1000);
	finish(pid);
	return check_end();
}
