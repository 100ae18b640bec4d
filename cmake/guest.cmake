# SPDX-License-Identifier: Apache-2.0
# What the toolchain files of the guests have in common: Debian's cross compiler (or clang: -DCMAKE_C_COMPILER=clang), the guest's file system
# as sysroot, and the guest itself as the machine on which CTest runs what was built.
set(KLP_GUEST ${CMAKE_CURRENT_LIST_DIR}/../scripts/guest)
get_filename_component(KLP_GUEST ${KLP_GUEST} ABSOLUTE)
set(CMAKE_LIBRARY_ARCHITECTURE ${CMAKE_SYSTEM_PROCESSOR}-linux-gnu)

# CMake reads this file again for each of its own little projects.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES CMAKE_SYSROOT KLP_GUEST_TOOLS)
if(NOT CMAKE_SYSROOT OR NOT KLP_GUEST_TOOLS)
  foreach(part sysroot tools)
    execute_process(COMMAND ${KLP_GUEST} ${part} ${CMAKE_SYSTEM_PROCESSOR} OUTPUT_VARIABLE ${part}
                    OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE status)
    if(NOT status EQUAL 0)
      message(FATAL_ERROR "there is no guest of ${CMAKE_SYSTEM_PROCESSOR}")
    endif()
  endforeach()
  set(CMAKE_SYSROOT ${sysroot})
  set(KLP_GUEST_TOOLS ${tools})
endif()

foreach(lang C CXX ASM)
  if(NOT CMAKE_${lang}_COMPILER)
    set(CMAKE_${lang}_COMPILER ${KLP_GUEST_TOOLS}/gcc)
  endif()
  set(CMAKE_${lang}_COMPILER_TARGET ${CMAKE_LIBRARY_ARCHITECTURE}) # clang's --target
endforeach()
foreach(tool AR NM OBJCOPY OBJDUMP RANLIB READELF STRIP)
  string(TOLOWER ${tool} name)
  set(CMAKE_${tool} ${KLP_GUEST_TOOLS}/${name} CACHE FILEPATH "")
endforeach()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
# pkg-config looks into the sysroot only.
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${CMAKE_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR} ${CMAKE_SYSROOT}/usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/pkgconfig:${CMAKE_SYSROOT}/usr/share/pkgconfig)
set(ENV{PKG_CONFIG_PATH})
# A test's time is CTest's to limit.
set(CMAKE_CROSSCOMPILING_EMULATOR ${KLP_GUEST} run -t 3600 -s ${CMAKE_BINARY_DIR} ${CMAKE_SYSTEM_PROCESSOR})
