# mcutrain_add_episode(<name> [EPISODE <episode> [STEPS <n>]] [MODEL_DIR <dir>] [LABELS <label>...])
#
# Adds what an episode runs on the board of this build: <name>.elf, or on the host lib<name>.so, from every .c file of MODEL_DIR
# with the runtime of episodes and the library. The model is called episode_model in C, which is what the runtime links with. With EPISODE
# the sources are generated (so MODEL_DIR is not needed), and there is a ctest `episode.<name>`:
# the Python tool trains STEPS steps (100 where not given) here and in golden, and holds the two against each other. The test has
# the labels `qemu` (or `host`), `train`, and LABELS; on a board there is another one, `episode.<name>.renode`, with the label `renode`.
# Where this machine does not have the episode's model, or the emulator, the test skips.
function(mcutrain_add_episode name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "MODEL_DIR;EPISODE;STEPS" "LABELS")
    if(MCUTRAIN_BOARD)
        set(runner qemu)
        set(target ${MCUTRAIN_BOARD})
    else()
        set(runner host)
        set(target host)
    endif()
    if(arg_EPISODE)
        if(NOT arg_STEPS)
            set(arg_STEPS 100)
        endif()
        mcutrain_add_tool_test(episode.${name} LABELS ${runner} train ${arg_LABELS}
            COMMAND verify "${arg_EPISODE}" --runners golden,${target} --steps ${arg_STEPS})
        if(MCUTRAIN_BOARD)
            mcutrain_add_tool_test(episode.${name}.renode LABELS renode train ${arg_LABELS}
                COMMAND verify "${arg_EPISODE}" --runners golden,${target}@renode --steps ${arg_STEPS})
        endif()
    endif()
    if(arg_EPISODE AND NOT arg_MODEL_DIR)
        set(arg_MODEL_DIR "${CMAKE_CURRENT_BINARY_DIR}/${name}.model")
        execute_process(
            COMMAND "${PROJECT_SOURCE_DIR}/mcutrain" build "${arg_EPISODE}" --sources-only --name episode_model --output "${arg_MODEL_DIR}"
            RESULT_VARIABLE status OUTPUT_QUIET)
        if(status EQUAL 77)
            message(STATUS "mcutrain_add_episode(${name}): not available on this machine, its firmware is not built")
            return()
        elseif(NOT status EQUAL 0)
            message(FATAL_ERROR "mcutrain_add_episode(${name}): the sources could not be generated")
        endif()
    endif()
    if(NOT arg_MODEL_DIR)
        message(FATAL_ERROR "mcutrain_add_episode(${name}): give EPISODE or MODEL_DIR")
    endif()
    get_filename_component(model_dir "${arg_MODEL_DIR}" ABSOLUTE)
    file(GLOB sources CONFIGURE_DEPENDS "${model_dir}/*.c")
    if(NOT sources)
        message(FATAL_ERROR "mcutrain_add_episode(${name}): no .c file in ${model_dir}")
    endif()
    if(MCUTRAIN_BOARD)
        add_executable(${name} ${sources})
        set_target_properties(${name} PROPERTIES SUFFIX .elf)
        target_link_libraries(${name} PRIVATE mcutrain_episode)
    else()
        add_library(${name} SHARED ${sources})
        # Every function of the library can be called from Python, not only those that the model calls.
        target_link_libraries(${name} PRIVATE -Wl,--whole-archive mcutrain_episode mcutrain -Wl,--no-whole-archive)
    endif()
    target_include_directories(${name} PRIVATE "${model_dir}")
    target_link_libraries(${name} PRIVATE mcutrain_flags)
    target_compile_definitions(${name} PRIVATE MCT_TRACE) # the runtime reports operators where an image asks for it
    # The binary must not depend on where it was built: the same sources give the same SHA-256.
    target_compile_options(${name} PRIVATE "-ffile-prefix-map=${model_dir}=model")
endfunction()

# mcutrain_add_tool_test(<name> COMMAND <argument>... LABELS <label>...): a ctest that runs the Python tool.
# Exit code 77 means that something is not available on this machine: ctest then reports the test as skipped.
function(mcutrain_add_tool_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "COMMAND;LABELS")
    add_test(NAME ${name} COMMAND "${PROJECT_SOURCE_DIR}/mcutrain" ${arg_COMMAND} WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
    set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" SKIP_RETURN_CODE 77)
endfunction()
