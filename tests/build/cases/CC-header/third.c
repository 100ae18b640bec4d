/* SPDX-License-Identifier: Apache-2.0 */
int third(int v);

int third(int v)
{
	return v + 3;
}
