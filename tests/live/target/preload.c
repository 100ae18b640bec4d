/* SPDX-License-Identifier: Apache-2.0 */
/* Preempts the library's definition. */
int aux_exported(int x);

int aux_exported(int x)
{
	return x * 3 + 1000;
}
