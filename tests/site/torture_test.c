/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three threads hammer a function while another one arms and disarms its site with the real sequences of single stores,
 * each followed by a membarrier. Every result must be the old or the new function's; both must be seen. The program is
 * built once for each layout; arguments: the layout's name that the decoder must find, M in bytes, how many flips.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "harness.h"
#include "victims.h"

#define FLIPS_FULL 100000 /* with KLP_FULL=1 */
#define THREADS 3

static uint64_t (*volatile hammer)(uint64_t) = victim_hammer;
static int stop;
static uint64_t seen[2];

static void *hammering(void *arg)
{
	uint64_t a = (uint64_t)arg, got[2] = {0, 0};

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		uint64_t r;

		a++;
		r = hammer(a) - a * 3;

		need(r == 1 || r == 2);
		got[r - 1]++;
	}
	__atomic_fetch_add(&seen[0], got[0], __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&seen[1], got[1], __ATOMIC_SEQ_CST);
	return NULL;
}

int main(int argc, char **argv)
{
	static struct world w;
	struct klp_rt_site *r;
	pthread_t t[THREADS];
	const char *layout;
	size_t done;

	const char *full = getenv("KLP_FULL");
	int flips;

	need(argc == 4);
	flips = full && *full == '1' ? FLIPS_FULL : atoi(argv[3]);
	world_make(&w, 1);
	r = world_add(&w, victim_hammer, (unsigned)atoi(argv[2]));
	r->slot = (uint64_t)victim_hammer_new;
	layout = klp_site_layout_name(w.site[0].layout);
	printf("layout %s\n", layout);
	need(!strcmp(layout, argv[1]));
	for (uint64_t i = 0; i < THREADS; i++)
		need(!pthread_create(&t[i], NULL, hammering, (void *)(i << 40)));
	for (int i = 0; i < flips; i++) {
		if (i & 1)
			world_disarm(&w, r);
		else
			world_arm(&w, r);
		need(klp_site_state(ARCH, &w.site[0], (const uint8_t *)r->entry, 8, &done) ==
		     (i & 1 ? KLP_STATE_DORMANT : KLP_STATE_ARMED));
		need(hammer(1) == (i & 1 ? 4u : 5u));
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	printf("%d flips, old %llu, new %llu\n", flips, (unsigned long long)seen[0], (unsigned long long)seen[1]);
	need(seen[0] && seen[1]);
	return 0;
}
