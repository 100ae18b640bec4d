/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For authors of live patches: what a diff may state about itself. klp-build reads it from the patched units; nothing
 * of it is in the program or in the module's code. Needs gcc or clang, works in C and C++.
 *
 * A statement stands at file scope and ends with a semicolon. The reason is a string literal that is not empty; it is
 * in the report, so write it for whoever has to decide whether the patch may be loaded.
 */
#ifndef KLP_PATCH_H
#define KLP_PATCH_H

/*
 * KLP_LAYOUT_OK(struct connection, "the new member is read only by code that set it");
 *
 * The type's layout may change although objects of the old layout live in the process. The type as it is written in C:
 * with struct, union or enum, or the name of a typedef for a type that has no other name.
 */
#define KLP_LAYOUT_OK(type, why) KLP_STATEMENT_("layout", #type, #why)

/*
 * KLP_DATA_OK(limit, "new processes read it from the configuration");
 *
 * The initial value of a variable may change: the running program keeps the value that it has. Or a constant may change
 * although data or stored pointers lead to the old one: they still do, only functions of the module use the new one.
 * The size must stay. A static symbol is meant only in the file of the statement.
 */
#define KLP_DATA_OK(symbol, why) KLP_STATEMENT_("data", #symbol, #why)

#define KLP_STATEMENT_(kind, name, why)                        \
	__asm__(".pushsection .klp.statement,\"\",%progbits\n" \
		"\t.ascii \"" kind "\"\n\t.byte 0\n"           \
		"\t.ascii \"" name "\"\n\t.byte 0\n"           \
		"\t.ascii " why "\n\t.byte 0\n"                \
		"\t.popsection")

#endif
