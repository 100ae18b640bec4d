/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What debuggers and profilers are told of klp's code in a process (invariant L3). A module is no file that they could
 * find by themselves, so one is made for them from what lies in the process: an ELF file at the module's own addresses,
 * with its code, its unwind information and the names of its functions and data. The process is only read. Private to
 * klp/; the entry points are in <klp/klp.h>.
 */
#ifndef KLP_SYMFILE_H
#define KLP_SYMFILE_H

#include <elf.h>
#include <stdio.h>

#include "klp/session.h"

struct klp_symfile {
	uint64_t text, text_len;
	uint64_t eh_frame, eh_frame_len; /* length 0: none */
	Elf64_Sym *sym; /* [0] is the null symbol; st_shndx is 1 for code, else SHN_ABS; names lie in strings */
	size_t count;
	char *strings; /* ends in a zero byte */
	size_t strings_len;
};

/* Everything in the target is hostile: what does not fit is KLP_TARGET_MEMORY. 1: there is nothing to tell yet. */
int klp_symfile_read_patch(const struct klp_session *s, const struct klp_patch *p, struct klp_symfile *y,
			   struct klp_error *e);
/* klp's own runtime. 1: there is none. */
int klp_symfile_read_runtime(const struct klp_session *s, struct klp_symfile *y, struct klp_error *e);
void klp_symfile_free(struct klp_symfile *y);

/* The module's own function that contains addr, into buf. */
bool klp_symfile_function(const struct klp_session *s, const struct klp_patch *p, uint64_t addr, char *buf, size_t len);

/* Reads code and unwind information of the process. */
int klp_symfile_write(const struct klp_session *s, const struct klp_symfile *y, FILE *f, struct klp_error *e);

#endif
