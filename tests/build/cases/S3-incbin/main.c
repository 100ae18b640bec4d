/* SPDX-License-Identifier: Apache-2.0 */
/* The assembler reads a file that the compiler knows nothing of. */
#include <stdio.h>

__asm__(".section .rodata\n"
	"word:\n"
	".incbin \"word.txt\"\n"
	".byte 0\n"
	".previous\n");
extern const char word[] __attribute__((visibility("hidden")));

void probe(const char *line)
{
	printf("%c %s\n", line[0], word);
}
