/* SPDX-License-Identifier: Apache-2.0 */
/*
 * klp-build --check-unwind FILE: are the unwind tables of a linked file true? An error in them is found before a thread
 * is judged by it.
 *
 * For each function of .eh_frame the instructions are followed, block by block, and at each one what is known of the
 * registers is compared with what the row says of the frame's address (the CFA). What the check does not understand it
 * does not judge: it counts it.
 */
#ifndef KLP_BUILD_UNWIND_CHECK_H
#define KLP_BUILD_UNWIND_CHECK_H
/* An enum kb_exit: KB_BUILT no disagreement, KB_REFUSED some (they are printed), KB_FAILED. */
int kb_check_unwind(const char *path);
#endif
