/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256, by libmd. */
#ifndef KLP_DIGEST_H
#define KLP_DIGEST_H

#include <stddef.h>
#include <stdint.h>
#include "klp/include/klp/error.h"

#define KLP_DIGEST_SIZE 32

int klp_digest(const void *data, size_t len, uint8_t out[KLP_DIGEST_SIZE], struct klp_error *e);

#endif
