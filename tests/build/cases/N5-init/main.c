/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

/* As haproxy registers what is called at start: sections that only the program's own start code reads. */
static int started;
static void first(void)
{
	started += 1;
}
static void second(void)
{
	started += 10;
}
typedef void (*step)(void);
__attribute__((used, section("i_STG_REGISTER"))) static const step steps[2] = {first, second};
extern const step __start_i_STG_REGISTER[], __stop_i_STG_REGISTER[];

void probe(const char *input)
{
	(void)second;
	if (!started)
		for (const step *s = __start_i_STG_REGISTER; s < __stop_i_STG_REGISTER; s++)
			(*s)();
	printf("%d\n", started);
}
