/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON Compilation Database (clang.llvm.org/docs/JSONCompilationDatabase.html): how each unit of a program is
 * compiled. Nothing in it is trusted: it is read with limits, its commands are run without a shell, and only if they
 * are a compiler's for one source.
 */
#ifndef KLP_BUILD_COMPDB_H
#define KLP_BUILD_COMPDB_H

#include "klp-build.h"

#define KB_MAX_DATABASE (256u << 20) /* bytes of a compile_commands.json */
#define KB_MAX_ENTRIES 200000u
#define KB_MAX_ARGUMENTS 65536u
#define KB_MAX_PLACES 64u /* directories outside of the source tree */

/*
 * [{entry, directory, source, output, argv, deps?, why?}] of the file's entries, without those that say the same once
 * more: argv compiles and says nothing of dependencies, deps prints the prerequisites of the source and ends where the
 * name of a file for them belongs; source and output are absolute. With why the entry is of no use if its unit has to
 * be compiled, and that says why; without deps nobody knows what it reads. NULL: the file is damaged, and how has been
 * said.
 */
json_t *kb_compdb_read(const char *path);
/* The words of a "command"; NULL: *why says what is wrong with it. */
json_t *kb_compdb_words(const char *command, const char **why);

#endif
