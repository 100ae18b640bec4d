# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` installs, and the files by which other builds find klp.
include(CMakePackageConfigHelpers)
include(${PROJECT_SOURCE_DIR}/cmake/KlpFlags.cmake)

klp_flags_for_arch(${KLP_ARCH} gcc clang)
list(JOIN gcc " " KLP_CFLAGS_GCC)
list(JOIN clang " " KLP_CFLAGS_CLANG)
foreach(dir INCLUDEDIR LIBDIR)
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${dir}}")
    set(KLP_PC_${dir} "${CMAKE_INSTALL_${dir}}")
  else()
    set(KLP_PC_${dir} "\${prefix}/${CMAKE_INSTALL_${dir}}")
  endif()
endforeach()
# Relative to where the file lies, so that an installation may be moved.
file(RELATIVE_PATH KLP_PC_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
# In the root of the build directory, so that PKG_CONFIG_PATH=build serves a tree that is not installed.
configure_file(${PROJECT_SOURCE_DIR}/cmake/klp.pc.in ${PROJECT_BINARY_DIR}/klp.pc @ONLY)
configure_file(${PROJECT_SOURCE_DIR}/cmake/libklp.pc.in ${PROJECT_BINARY_DIR}/libklp.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/klp.pc ${PROJECT_BINARY_DIR}/libklp.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# A part that a partial tree does not have is not installed; a complete tree has them all.
foreach(target klpctl klp-build klp_shared)
  if(TARGET ${target})
    install(TARGETS ${target}
            RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
            LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
            ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  endif()
endforeach()
# libklp.a holds the parts that klp is made of; in the build they are archives of their own.
if(TARGET klp_static)
  set(archive ${PROJECT_BINARY_DIR}/lib/libklp.a)
  add_custom_command(OUTPUT ${archive}
    COMMAND ${PROJECT_SOURCE_DIR}/cmake/merge-archives.sh ${CMAKE_AR} ${archive}
            $<TARGET_FILE:klp_static> $<TARGET_FILE:klp_rt_image> $<TARGET_FILE:klp_unwind>
            $<TARGET_FILE:klp_patchsite> $<TARGET_FILE:klp_plt> $<TARGET_FILE:klp_error>
    DEPENDS klp_static klp_rt_image klp_unwind klp_patchsite klp_plt klp_error ${PROJECT_SOURCE_DIR}/cmake/merge-archives.sh
    COMMENT "Merging libklp.a" VERBATIM)
  add_custom_target(klp_archive ALL DEPENDS ${archive})
  install(FILES ${archive} DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/klp/include/klp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
file(GLOB KLP_MAN1 CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/man/*.1)
install(FILES ${KLP_MAN1} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)

# It finds klpctl from where it lies: ../../bin.
install(FILES ${PROJECT_SOURCE_DIR}/tools/gdb/klp.py DESTINATION ${CMAKE_INSTALL_DATADIR}/klp)

set(KLP_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/klp)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/klpConfig.cmake.in ${PROJECT_BINARY_DIR}/klpConfig.cmake
                              INSTALL_DESTINATION ${KLP_CMAKE_DIR} PATH_VARS CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/klpConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${PROJECT_BINARY_DIR}/klpConfig.cmake ${PROJECT_BINARY_DIR}/klpConfigVersion.cmake
              ${PROJECT_SOURCE_DIR}/cmake/KlpFlags.cmake ${PROJECT_SOURCE_DIR}/cmake/klpEnable.cmake
        DESTINATION ${KLP_CMAKE_DIR})
