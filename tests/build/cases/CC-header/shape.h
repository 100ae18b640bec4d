/* SPDX-License-Identifier: Apache-2.0 */
int area(int v);
int third(int v);

static __attribute__((noinline, unused)) int scaled(int v)
{
	return v * 2;
}
