/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

__attribute__((noinline)) static int value(int c)
{
	switch (c) {
	case 'a':
		return 31;
	case 'b':
		return 7;
	case 'c':
		return 99;
	case 'd':
		return 12;
	case 'e':
		return 5;
	case 'f':
		return 61;
	default:
		return 0;
	}
}

__attribute__((noinline)) static void jump(int c, int v)
{
	switch (c) {
	case 'a':
		puts("none");
		break;
	case 'b':
		printf("%x\n", v);
		break;
	case 'c':
		printf("%d %d\n", v, v + 1);
		break;
	case 'd':
		putchar(v);
		break;
	case 'e':
		printf("%o\n", v);
		break;
	case 'f':
		fputs("nothing at all\n", stdout);
		break;
	default:
		printf("default %d\n", v);
	}
}

void probe(const char *input)
{
	jump(*input, value(*input));
}
