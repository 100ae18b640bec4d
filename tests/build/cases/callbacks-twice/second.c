/* SPDX-License-Identifier: Apache-2.0 */
int second(void);
int second(void)
{
	return 2;
}
