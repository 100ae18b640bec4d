/* SPDX-License-Identifier: Apache-2.0 */
int standard(int v);

__attribute__((weak)) int standard(int v)
{
	return v + 1;
}
