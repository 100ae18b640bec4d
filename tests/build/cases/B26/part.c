/* SPDX-License-Identifier: Apache-2.0 */
int part(int v);

int part(int v)
{
	return v + 1;
}
