/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

/*
 * As annobin and systemtap mark a function: a hidden symbol at its start, and notes that nothing of the program reads.
 * Those of the changed function are not the same: they name its end.
 */
__asm__(".pushsection .text.part, \"ax\", %progbits\n"
	".hidden .annobin_part.start\n"
	".annobin_part.start:\n"
	".popsection");
__attribute__((noipa)) static int part(int n)
{
	__asm__ volatile("990: nop\n"
			 ".pushsection .note.stapsdt, \"\", %note\n"
			 ".balign 4\n"
			 ".4byte 8, 16, 3\n"
			 ".asciz \"stapsdt\"\n"
			 ".8byte 990b, 1\n"
			 ".popsection\n"
			 ".pushsection .gnu.build.attributes, \"\", %note\n"
			 ".balign 4\n"
			 ".4byte 3, 16, 0x100\n"
			 ".asciz \"GA\"\n"
			 ".balign 4\n"
			 ".8byte .annobin_part.start, 990b\n"
			 ".popsection");
	return n * 3;
}

void probe(const char *input)
{
	printf("%d\n", part(*input - '0'));
}
