/* SPDX-License-Identifier: Apache-2.0 */
template <int N> __attribute__((noinline)) int clip(int v)
{
	return v > N ? N : v;
}
