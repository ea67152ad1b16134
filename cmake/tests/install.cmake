# cmake -DBUILD=<build folder> -DFOLDER=<scratch> -DVERSION=<version> -DGENERATOR=<generator> -P install.cmake
#
# Install the library, and build and run a project of somebody else that finds it: once from the sources, once with the archive.
function(must)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "'${ARGN}' ended with ${status}:\n${output}")
    endif()
endfunction()

file(REMOVE_RECURSE "${FOLDER}")
must("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${FOLDER}/installed")
file(RENAME "${FOLDER}/installed" "${FOLDER}/moved") # nothing in it may name the folder that it was made for
foreach(component sources archive)
    must("${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_LIST_DIR}/application" -B "${FOLDER}/${component}" -G "${GENERATOR}"
        "-DCMAKE_PREFIX_PATH=${FOLDER}/moved" "-DVERSION=${VERSION}" "-DCOMPONENT=${component}")
    must("${CMAKE_COMMAND}" --build "${FOLDER}/${component}")
    must("${FOLDER}/${component}/application")
endforeach()
