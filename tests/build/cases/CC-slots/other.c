/* SPDX-License-Identifier: Apache-2.0 */
int counted = 1;
int other(int v);

int other(int v)
{
	return v;
}
