# SPDX-License-Identifier: Apache-2.0
# No helper functions of libgcc for atomics, no register of the platform's, no signed return addresses: nobody checks them here.
set(RT_ARCH_FLAGS -mgeneral-regs-only -march=armv8-a -mno-outline-atomics -ffixed-x18 -mbranch-protection=none)
set(RT_GOT_RESERVED 32)
