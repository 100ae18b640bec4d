# SPDX-License-Identifier: Apache-2.0
# The compile flags that make a program patchable, per compiler and architecture. This list is the only one: klp.pc, the
# CMake package and the project's own examples and tests all come from it.
#
# The counts N,M of -fpatchable-function-entry are the NOPs of site and prefix together, and those of the prefix alone:
#   x86_64   gcc 19,16   one NOP that stays, two one-byte NOPs that become a short jump, a 16-byte prefix
#            clang 16,14 it merges NOPs, so the site is its one 2-byte NOP
#   aarch64  6,4         one NOP that stays, one that becomes B, a 16-byte prefix
#   riscv64  34,32       one NOP that stays, one that becomes C.J, a 64-byte prefix, which C.J must cross (docs/riscv64.md). For programs
#                        without compressed instructions 8,6 does
set(KLP_COMMON_FLAGS -ffunction-sections -fdata-sections -fno-lto)
set(KLP_GCC_ONLY_FLAGS -fno-section-anchors -fno-ipa-stack-alignment)

function(klp_flags_for_arch arch gcc_out clang_out)
  if(arch STREQUAL "x86_64")
    set(gcc_entry 19,16)
    set(clang_entry 16,14)
  elseif(arch STREQUAL "aarch64")
    set(gcc_entry 6,4)
    set(clang_entry 6,4)
  elseif(arch STREQUAL "riscv64")
    set(gcc_entry 34,32)
    set(clang_entry 34,32)
    # gcc leaves unwind tables out of C on riscv64; without them no stack is reliable.
    set(extra -fasynchronous-unwind-tables)
  else()
    message(FATAL_ERROR "klp does not know the architecture ${arch}")
  endif()
  set(gcc -fpatchable-function-entry=${gcc_entry} ${KLP_COMMON_FLAGS} ${KLP_GCC_ONLY_FLAGS} ${extra})
  set(clang -fpatchable-function-entry=${clang_entry} ${KLP_COMMON_FLAGS} ${extra})
  if(arch STREQUAL "aarch64")
    # At -O3 clang gathers static variables in one symbol even with -fdata-sections.
    list(APPEND clang -mno-global-merge)
  endif()
  set(${gcc_out} ${gcc} PARENT_SCOPE)
  set(${clang_out} ${clang} PARENT_SCOPE)
endfunction()
