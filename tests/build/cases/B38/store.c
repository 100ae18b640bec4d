/* SPDX-License-Identifier: Apache-2.0 */
typedef int (*callback)(int v);

int answer(int v);
void store(void);
int call_stored(int v);

extern callback stored;
callback stored;

__attribute__((noinline)) int answer(int v)
{
	return v + 1;
}

void store(void)
{
	stored = answer;
}

int call_stored(int v)
{
	return stored ? stored(v) : 0;
}
