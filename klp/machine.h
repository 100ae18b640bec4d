/* SPDX-License-Identifier: Apache-2.0 */
/* The machine that this libklp serves: the host's. Its engine part is arch/<name>/. */
#ifndef KLP_MACHINE_H
#define KLP_MACHINE_H

#if defined(__x86_64__)
#define KLP_HOST_MACHINE 62u /* EM_X86_64 */
#include "klp/runtime/arch/x86_64/cpu.h"
#endif

#endif
