# SPDX-License-Identifier: Apache-2.0
# The base instruction set with atomics: no floating-point or vector registers, nothing compressed, no data near the global pointer, which is the
# program's; and nothing for the linker to shorten. The C library's headers are those of the other ABI: of them only types are used.
set(RT_ARCH_FLAGS -march=rv64ima -mabi=lp64 -U__riscv_float_abi_soft -D__riscv_float_abi_double -mcmodel=medany -mno-relax -msmall-data-limit=0)
set(RT_GOT_RESERVED 8)
