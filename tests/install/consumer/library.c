/* SPDX-License-Identifier: Apache-2.0 */
#include <klp/klp.h>
#include <stdio.h>
#include <string.h>

/* A file that is no patch module must be refused with a reason, by the library as installed. */
int main(int argc, char **argv)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_module *m = NULL;
	int rc = klp_module_open(argv[0], &m, &e);

	(void)argc;
	printf("%d %s %s\n", rc, klp_reason_name(e.reason), e.text);
	return rc < 0 && e.reason == KLP_BAD_MODULE ? 0 : 1;
}
