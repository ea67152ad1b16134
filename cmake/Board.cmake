# mcutrain_load_board(<name>): read emulation/boards/<name>.yaml into variables BOARD_<KEY> of the caller.
# The file has one "key: value" a line, so that Python and CMake read the same numbers.
function(mcutrain_load_board name)
    set(file "${PROJECT_SOURCE_DIR}/emulation/boards/${name}.yaml")
    if(NOT EXISTS "${file}")
        file(GLOB known RELATIVE "${PROJECT_SOURCE_DIR}/emulation/boards" "${PROJECT_SOURCE_DIR}/emulation/boards/*.yaml")
        string(REPLACE ".yaml" "" known "${known}")
        message(FATAL_ERROR "Unknown board '${name}'. The boards are: ${known}")
    endif()
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
    file(STRINGS "${file}" lines REGEX "^[a-z_]+: ")
    foreach(line IN LISTS lines)
        string(REGEX MATCH "^([a-z_]+): (.*)$" _ "${line}")
        string(TOUPPER "${CMAKE_MATCH_1}" key)
        set(BOARD_${key} "${CMAKE_MATCH_2}" PARENT_SCOPE)
    endforeach()
endfunction()

# mcutrain_board_flags(<target>): compile and link options, for everything that links <target>, of the board that is loaded.
function(mcutrain_board_flags target)
    separate_arguments(core_flags UNIX_COMMAND "${BOARD_COMPILER_FLAGS}")
    string(TOUPPER "${BOARD_CORE}" core_macro)
    string(REPLACE "-" "_" core_macro "${core_macro}")
    target_compile_options(${target} INTERFACE ${core_flags})
    target_compile_definitions(${target} INTERFACE MCT_BOARD_NAME="${BOARD_NAME}" MCT_CORE_${core_macro})
    if(CMSIS_CORE_DIR)
        find_path(cmsis_include NAMES core_cm4.h PATHS "${CMSIS_CORE_DIR}" "${CMSIS_CORE_DIR}/Include"
                  "${CMSIS_CORE_DIR}/CMSIS/Core/Include" NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH REQUIRED)
        target_include_directories(${target} SYSTEM INTERFACE "${cmsis_include}")
        target_compile_definitions(${target} INTERFACE MCT_CMSIS_CORE)
    endif()
    set(script "${PROJECT_SOURCE_DIR}/src/ports/cortex_m/linker.ld")
    # -nostartfiles: newlib's start-up would bring static data; our own does what is needed. An allocator or stdio would then
    # miss its system calls and fail to link, which is how "no heap" is kept.
    target_link_options(${target} INTERFACE ${core_flags} -nostartfiles -Wl,--gc-sections -Wl,--fatal-warnings
                        "-T${script}" "-Wl,--defsym=mct_stack_bytes=${MCT_STACK_BYTES}"
                        "-Wl,--defsym=mct_flash_base=${BOARD_FLASH_BASE}" "-Wl,--defsym=mct_flash_bytes=${BOARD_FLASH_BYTES}"
                        "-Wl,--defsym=mct_sram_base=${BOARD_SRAM_BASE}" "-Wl,--defsym=mct_sram_bytes=${BOARD_SRAM_BYTES}"
                        "-Wl,--defsym=mct_external_base=${BOARD_EXTERNAL_BASE}"
                        "-Wl,--defsym=mct_external_bytes=${BOARD_EXTERNAL_BYTES}")
    set_property(TARGET ${target} PROPERTY INTERFACE_LINK_DEPENDS "${script}")
endfunction()
