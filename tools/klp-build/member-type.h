/* SPDX-License-Identifier: Apache-2.0 */
/* What a member's type is, whatever its name is. */
#ifndef KLP_BUILD_MEMBER_TYPE_H
#define KLP_BUILD_MEMBER_TYPE_H

#include "dwarf-unit.h"

/*
 * Kind and size of the type of a member or base class, in words: "signed, 4 bytes", "12 of float, 4 bytes". typedefs,
 * const and volatile make no difference, nor what a pointer points to. *without_name: the struct or union, if it has no
 * name of its own under which it is compared, else NULL; the caller gives it back. The caller frees the words.
 */
char *kb_member_type(Dwarf_Debug dbg, Dwarf_Die member, Dwarf_Die *without_name);

#endif
