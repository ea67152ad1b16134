# What `cmake --install` gives: the headers, the archive for the board of this build, the sources, and a package for find_package(mcutrain).
# Nothing in them names a folder of this machine.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(data_dir "${CMAKE_INSTALL_DATADIR}/mcutrain")
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/mcutrain")

# What code must have in common with the archive to link with it, as the preprocessor says it of the archive's compiler and flags.
set(facts __SIZEOF_POINTER__ __BYTE_ORDER__ __x86_64__ __aarch64__ __ARM_ARCH __ARM_ARCH_PROFILE __ARM_FEATURE_DSP __ARM_FP __ARM_PCS_VFP
    __ARM_SIZEOF_MINIMAL_ENUM)
separate_arguments(flags UNIX_COMMAND "${CMAKE_C_FLAGS} ${BOARD_COMPILER_FLAGS}")
execute_process(COMMAND "${CMAKE_C_COMPILER}" ${flags} -E -dM -x c /dev/null OUTPUT_VARIABLE macros COMMAND_ERROR_IS_FATAL ANY)
set(differences "")
foreach(fact IN LISTS facts)
    if(macros MATCHES "#define ${fact} ([^\n]*)")
        list(APPEND differences "!defined(${fact}) || ${fact} + 0 != ${CMAKE_MATCH_1} + 0")
    else()
        list(APPEND differences "defined(${fact})")
    endif()
endforeach()
list(JOIN differences " || \\\n    " MCUTRAIN_ARCHIVE_DIFFERS)
if(MCUTRAIN_BOARD)
    set(MCUTRAIN_ARCHIVE_CORE "${BOARD_COMPILER_FLAGS}")
else()
    set(MCUTRAIN_ARCHIVE_CORE "${CMAKE_SYSTEM_PROCESSOR}, ${CMAKE_SYSTEM_NAME}")
endif()
configure_file(cmake/package/archive.h.in package/archive.h @ONLY)
configure_package_config_file(cmake/package/mcutrainConfig.cmake.in package/mcutrainConfig.cmake INSTALL_DESTINATION "${package_dir}"
    PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR data_dir NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
# ARCH_INDEPENDENT: the sources are for any core, and archive.h refuses what the archive is not for.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/package/mcutrainConfigVersion.cmake" COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)

install(TARGETS mcutrain ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
# episode.h is the interface of the runtime that episodes run with, which is not part of this.
install(DIRECTORY src/include/mcutrain DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" PATTERN episode.h EXCLUDE)
install(FILES "${PROJECT_BINARY_DIR}/package/archive.h" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/mcutrain")
install(DIRECTORY src/include src/kernels src/model DESTINATION "${data_dir}/src" FILES_MATCHING PATTERN "*.[ch]" PATTERN episode.h EXCLUDE)
install(FILES cmake/Library.cmake DESTINATION "${data_dir}/cmake")
install(FILES LICENSE docs/library.md DESTINATION "${data_dir}")
install(FILES "${PROJECT_BINARY_DIR}/package/mcutrainConfig.cmake" "${PROJECT_BINARY_DIR}/package/mcutrainConfigVersion.cmake"
    DESTINATION "${package_dir}")
