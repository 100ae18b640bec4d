/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KLP_BUILD_DWARF_OBJECT_H
#define KLP_BUILD_DWARF_OBJECT_H

/* A copy of an object that libdwarf could not read as it is. -1: it needs none, or there is no such object. */
int kb_open_relocated(const char *path);

#endif
