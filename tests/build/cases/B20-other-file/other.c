/* SPDX-License-Identifier: Apache-2.0 */
int other(void);

int other(void)
{
	return 1;
}
