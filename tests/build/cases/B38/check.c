/* SPDX-License-Identifier: Apache-2.0 */
typedef int (*callback)(int v);

int answer(int v);
int is_stored(void);
extern callback last;

callback last = answer;

int is_stored(void)
{
	return last == answer;
}
