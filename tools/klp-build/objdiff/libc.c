/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many arguments well-known functions of the C library take: no argument beyond the last reaches them, whatever is
 * in its register. Their names are reserved; a program that defines one itself is not meant. Functions with a variable
 * number are not in the list.
 */
#include <string.h>
#include "tools/klp-build/objdiff/object.h"

#define MOST 6u /* that a function of the list takes: one less than rows */

static const char *const takes[MOST][64] = {
    {"abort", "rand", "getpid", "getuid", "geteuid", "__errno_location", "__ctype_b_loc", "__ctype_tolower_loc",
     "__ctype_toupper_loc", "__stack_chk_fail"},
    {"puts",    "putchar", "fflush",  "fclose",   "fgetc",    "getc",    "feof",    "ferror",  "fileno",  "perror",
     "remove",  "unlink",  "malloc",  "free",     "exit",     "_exit",   "atoi",    "atol",    "abs",     "labs",
     "getenv",  "strlen",  "strdup",  "strerror", "toupper",  "tolower", "isalpha", "isalnum", "isdigit", "isspace",
     "isupper", "islower", "ispunct", "isprint",  "isxdigit", "isatty",  "close",   "time",    "srand",   "sleep"},
    {"putc",    "fputc",  "ungetc",  "fputs",      "fopen",  "rename",  "calloc", "realloc", "strnlen",
     "strcmp",  "strcpy", "strcat",  "strcasecmp", "strchr", "strrchr", "strstr", "strndup", "strspn",
     "strcspn", "strtok", "strpbrk", "stpcpy",     "access", "kill",    "chmod",  "mkdir",   "dup2"},
    {"fgets",       "fseek",   "strtol",  "strtoul", "strtoll", "strtoull",     "strncmp",
     "strncasecmp", "strncpy", "strncat", "memcpy",  "memmove", "memset",       "memcmp",
     "memchr",      "memrchr", "read",    "write",   "lseek",   "__strcpy_chk", "__strcat_chk"},
    {"fread", "fwrite", "setvbuf", "qsort", "__memcpy_chk", "__memmove_chk", "__memset_chk", "__strncpy_chk",
     "__strncat_chk", "__fgets_chk"},
    {"bsearch"},
};

unsigned od_argument_count(const char *name)
{
	for (unsigned n = 0; n < MOST; n++)
		for (size_t i = 0; i < sizeof(takes[n]) / sizeof(*takes[n]) && takes[n][i]; i++)
			if (!strcmp(takes[n][i], name))
				return n;
	return OD_ALL_ARGUMENTS;
}
