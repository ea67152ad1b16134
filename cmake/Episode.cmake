# mcutrain_add_episode(<name> MODEL_DIR <dir> [EPISODE <episode>] [LABELS <label>...])
#
# Adds what an episode runs on the board of this build: <name>.elf, or on the host lib<name>.so, from every .c file of MODEL_DIR
# (what `mcutrain build` generates) and the library. With EPISODE also the ctest `episode.<name>`, which runs that episode
# through the Python tool and holds it against golden; it has the labels `qemu` (or `host`), `train`, and LABELS.
function(mcutrain_add_episode name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "MODEL_DIR;EPISODE" "LABELS")
    if(NOT arg_MODEL_DIR)
        message(FATAL_ERROR "mcutrain_add_episode(${name}): MODEL_DIR is missing")
    endif()
    get_filename_component(model_dir "${arg_MODEL_DIR}" ABSOLUTE)
    file(GLOB sources CONFIGURE_DEPENDS "${model_dir}/*.c")
    if(NOT sources)
        message(FATAL_ERROR "mcutrain_add_episode(${name}): no .c file in ${model_dir}")
    endif()
    if(MCUTRAIN_BOARD)
        add_executable(${name} ${sources})
        set_target_properties(${name} PROPERTIES SUFFIX .elf)
        target_link_libraries(${name} PRIVATE mcutrain)
        set(runner qemu)
    else()
        add_library(${name} SHARED ${sources})
        # Every function of the library can be called from Python, not only those that the model calls.
        target_link_libraries(${name} PRIVATE -Wl,--whole-archive mcutrain -Wl,--no-whole-archive)
        set(runner host)
    endif()
    target_include_directories(${name} PRIVATE "${model_dir}")
    target_link_libraries(${name} PRIVATE mcutrain_flags)
    # The binary must not depend on where it was built: the same sources give the same SHA-256.
    target_compile_options(${name} PRIVATE "-ffile-prefix-map=${model_dir}=model")
    if(arg_EPISODE)
        mcutrain_add_tool_test(episode.${name} COMMAND verify "${arg_EPISODE}" LABELS ${runner} train ${arg_LABELS})
    endif()
endfunction()

# mcutrain_add_tool_test(<name> COMMAND <argument>... LABELS <label>...): a ctest that runs the Python tool.
# Exit code 77 means that something is not available on this machine: ctest then reports the test as skipped.
function(mcutrain_add_tool_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "COMMAND;LABELS")
    add_test(NAME ${name} COMMAND "${PROJECT_SOURCE_DIR}/mcutrain" ${arg_COMMAND} WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
    set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" SKIP_RETURN_CODE 77)
endfunction()
