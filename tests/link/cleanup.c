/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with -fexceptions: a cleanup that an exception or a cancellation would have to run. */
extern int t_value;

static void done(int *p)
{
	t_value += *p;
}

__attribute__((noinline)) void m_run(void (*f)(int *))
{
	int x __attribute__((cleanup(done))) = 1;

	f(&x);
}
