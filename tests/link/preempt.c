/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded: its t_add wins over that of the library. */
int t_add(int a, int b)
{
	return a * b;
}
