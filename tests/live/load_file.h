/* SPDX-License-Identifier: Apache-2.0 */
/* What klpctl load does, for tests that replace a function of the engine. */
#ifndef KLP_TESTS_LIVE_LOAD_FILE_H
#define KLP_TESTS_LIVE_LOAD_FILE_H

#include "klp/include/klp/klp.h"

/* klp_load of the module in the file. */
int load_file(const char *pid, const char *file, const struct klp_options *o, json_t **result, struct klp_error *e);
/* klpctl's JSON of this one result, which it takes, to standard output. */
void print_result(json_t *result);

#endif
