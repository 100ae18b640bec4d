/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

/* A set that the linker collects, of a section that klp-build does not know. */
struct command {
	const char *name;
	int (*run)(int);
	int weight;
};
__attribute__((noipa)) static int twice(int n)
{
	return 2 * n;
}
__attribute__((used, section("commands"))) static const struct command command = {"twice", twice, 1};
extern const struct command __start_commands[], __stop_commands[];

void probe(const char *input)
{
	int sum = 0;

	for (const struct command *c = __start_commands; c < __stop_commands; c++)
		sum += c->run(*input - '0') * c->weight;
	printf("%d\n", sum);
}
