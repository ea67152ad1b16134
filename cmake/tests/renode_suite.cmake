# cmake -DPROJECT=<root> -DBOARD=<board> -DCORE=<its core> -DFOLDER=<scratch> -P renode_suite.cmake
#
# Build an episode's firmware, and run emulation/renode/tests with Renode's own test runner, renode-test: on PATH, or beside the Renode that
# pyrenode3's variables name. "Skipped: " and the reason where this machine has none.
get_filename_component(beside "$ENV{PYRENODE_BIN}" DIRECTORY)
find_program(renode_test renode-test PATHS "$ENV{PYRENODE_BUILD_DIR}" "${beside}")
if(NOT renode_test)
    message("Skipped: renode-test is not on PATH, nor beside what PYRENODE_BIN or PYRENODE_BUILD_DIR names; docs/renode.md says how to install Renode")
    return()
endif()
execute_process(COMMAND "${renode_test}" --help RESULT_VARIABLE status OUTPUT_VARIABLE said ERROR_VARIABLE said)
if(NOT status EQUAL 0)
    message("Skipped: ${renode_test} does not start; the Python packages that it needs are in tests/requirements.txt of Renode: ${said}")
    return()
endif()

file(REMOVE_RECURSE "${FOLDER}")
file(MAKE_DIRECTORY "${FOLDER}/temporary")
execute_process(COMMAND "${PROJECT}/mcutrain" build digits-sparse --board "${BOARD}" --output "${FOLDER}/${BOARD}"
    RESULT_VARIABLE status OUTPUT_VARIABLE said ERROR_VARIABLE said)
if(status EQUAL 77)
    message("Skipped: ${said}")
    return()
elseif(NOT status EQUAL 0)
    message(FATAL_ERROR "the firmware could not be built:\n${said}")
endif()

# A folder of its own for temporary files: Renode removes those of others that it takes for left over, and leaves some.
execute_process(COMMAND "${CMAKE_COMMAND}" -E env "TMPDIR=${FOLDER}/temporary" "${renode_test}" "${PROJECT}/emulation/renode/tests/episode.robot"
    --include "${CORE}" --variable "M4:${BOARD}" --variable "M7:${BOARD}" --variable "BUILD:${FOLDER}" --results-dir "${FOLDER}/results"
    RESULT_VARIABLE status)
file(REMOVE_RECURSE "${FOLDER}/temporary")
if(NOT status EQUAL 0)
    message(FATAL_ERROR "renode-test ended with ${status}; see ${FOLDER}/results/log.html")
endif()
