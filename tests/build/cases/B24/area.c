/* SPDX-License-Identifier: Apache-2.0 */
int area(int a, int b);

int area(int a, int b)
{
	return a * b;
}
