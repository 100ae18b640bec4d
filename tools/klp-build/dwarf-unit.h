/* SPDX-License-Identifier: Apache-2.0 */
/* What klp-build's readers of debug information have in common. */
#ifndef KLP_BUILD_DWARF_UNIT_H
#define KLP_BUILD_DWARF_UNIT_H

#include <stdbool.h>
#include <dwarf.h>
#include <libdwarf.h>

/* Calls fn for the top entry of every unit; for none if the file has no debug information that can be read. */
void kb_dwarf_each_unit(const char *path, void (*fn)(void *ctx, Dwarf_Debug dbg, Dwarf_Die cu), void *ctx);
/* The name belongs to dbg; NULL if there is none. */
char *kb_dwarf_name(Dwarf_Debug dbg, Dwarf_Die die);
/* A copy of an attribute's string; NULL if it has none, or if the string is in a file that is not there (dwz). The
 * caller frees. */
char *kb_dwarf_string(Dwarf_Debug dbg, Dwarf_Die die, Dwarf_Half attribute);
/* The first child, or the next sibling; NULL behind the last. The caller gives it back. */
Dwarf_Die kb_dwarf_next(Dwarf_Debug dbg, Dwarf_Die die, bool child);
Dwarf_Half kb_dwarf_tag(Dwarf_Die die);
/* A constant or flag; false, and nothing is stored, if there is none or it is an expression. */
bool kb_dwarf_number(Dwarf_Debug dbg, Dwarf_Die die, Dwarf_Half at, long long *out);
/* The entry that an attribute refers to (DW_AT_type), or NULL. The caller gives it back. */
Dwarf_Die kb_dwarf_entry(Dwarf_Debug dbg, Dwarf_Die die, Dwarf_Half attribute);

#endif
