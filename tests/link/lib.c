/* SPDX-License-Identifier: Apache-2.0 */
/* A shared object that is patched. Its TLS model is the compiler's option, so that it has the slots of that model. */
#ifdef HIDDEN_TLS
#define TLS static __thread /* slots without a symbol */
#else
#define TLS __thread
#endif
TLS int t_tls = 70;
TLS int t_pad[5] = {1};
TLS int t_tls_high = 90;
int t_value = 40;

int t_add(int a, int b)
{
	return a + b;
}

int t_old(int a)
{
	return t_add(a, 100) + t_pad[a & 1];
}

int *t_tls_address(void)
{
	return &t_tls;
}

int *t_tls_high_address(void)
{
	return &t_tls_high;
}
