/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of functions, for people: from .symtab, or else .dynsym, of the files that are mapped, and from the patches.
 * Nothing is decided by a name.
 */
#ifndef KLP_SYMBOLS_H
#define KLP_SYMBOLS_H
#include "klp/session.h"
struct klp_symbols;
/* NULL without memory: the functions below then know the patches alone. */
struct klp_symbols *klp_symbols_new(struct klp_session *s);
void klp_symbols_free(struct klp_symbols *y);
/* "name" or "name [patch]" of the function that contains addr, "[klp]" in klp's own code, or the address in hex, into
 * buf. *start: where it begins, 0 if that is not known. */
const char *klp_symbols_name(struct klp_session *s, struct klp_symbols *y, uint64_t addr, char *buf, size_t len,
			     uint64_t *start);
#endif
