/* SPDX-License-Identifier: Apache-2.0 */
/* The first use of an ifunc in the process. */
#include <stddef.h>

size_t wcsnlen(const wchar_t *s, size_t n);

size_t m_run(const wchar_t *s, size_t n)
{
	return wcsnlen(s, n) + 1;
}
