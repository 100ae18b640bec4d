/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/digest.h"

#include <errno.h>
#include <sha2.h>

_Static_assert(KLP_DIGEST_SIZE == SHA256_DIGEST_LENGTH, "SHA-256");

int klp_digest(const void *data, size_t len, uint8_t out[KLP_DIGEST_SIZE], struct klp_error *e)
{
	SHA2_CTX ctx;

	if (!data && len)
		return klp_fail(e, EINVAL, KLP_INTERNAL, "nothing to make a digest of");
	SHA256Init(&ctx);
	if (len)
		SHA256Update(&ctx, data, len);
	SHA256Final(out, &ctx);
	return 0;
}
