# SPDX-License-Identifier: Apache-2.0
set(RT_ARCH_FLAGS -mgeneral-regs-only -fcf-protection=none)
set(RT_GOT_RESERVED 0)
