/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of sites of several architectures have in common. */
#ifndef KLP_TEST_SITES_H
#define KLP_TEST_SITES_H

#include <check.h>
#include <stdint.h>

#define MIB (1ull << 20)
#define GIB (1ull << 30)

uint64_t wide_random(void);
/* Round i: the two ends of [-reach, reach - step] first, then anything between. */
uint64_t within(unsigned i, uint64_t reach, uint64_t step);
/* FILE LAYOUT as arguments: every function victim_* of a freshly compiled program has this site, or is refused for this
 * reason. Else the tests of tc. */
int sites_main(const char *suite, TCase *tc, int argc, char **argv);

#endif
