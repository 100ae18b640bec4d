/* SPDX-License-Identifier: Apache-2.0 */
/* Thread-local variables of the target in one TLS model, the compiler's option. */
#include "target.h"

#ifdef LOCAL_NAMES
/* Local-dynamic wants to know that both are of one object. */
extern __thread int t_tls __attribute__((visibility("hidden")));
extern __thread int t_tls_high __attribute__((visibility("hidden")));
#endif

void m_run(struct result *r, int n)
{
	r->v[R_TLS] = (t_tls += n);
	r->v[R_TLS_HIGH] = t_tls_high;
	r->v[R_TLS_ADDRESS] = (long)&t_tls_high;
}
