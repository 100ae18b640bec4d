/* SPDX-License-Identifier: Apache-2.0 */
int standard(int v);

int standard(int v)
{
	return v + 5;
}
