/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a program of victims.c, with nothing patchable in it that is not there. */
int main(void)
{
	return 0;
}
