/* SPDX-License-Identifier: Apache-2.0 */
/* The program has one of klp's names already: nobody can say whose a patch means. */
#include "probe.h"

void *klp_rt_shadow_take(const void *obj, unsigned long id);
void *klp_rt_shadow_take(const void *obj, unsigned long id)
{
	return obj && id ? stdout : NULL;
}
