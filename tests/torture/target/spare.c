/* SPDX-License-Identifier: Apache-2.0 */
/* An object that comes and goes while others are patched. */
int spare(int x);
int spare(int x)
{
	return x + 1;
}
