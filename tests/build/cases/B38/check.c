/* SPDX-License-Identifier: Apache-2.0 */
typedef int (*callback)(int v);

int answer(int v);
int is_stored(void);
extern callback stored; /* what store.c put there, compared with what this unit takes for the function */

int is_stored(void)
{
	return stored == answer;
}
