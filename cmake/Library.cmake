# mcutrain_add_library(<target>): a static library of mcutrain's C sources, compiled with the toolchain, the flags and the core of the project
# that calls it. What links <target> finds its headers. The project itself uses this file, and so does the package that it installs: the
# sources lie in ../src there, too.
function(mcutrain_add_library target)
    get_filename_component(root "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../src" ABSOLUTE)
    # Kernels and model: no runtime of episodes, no port, no protocol.
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${root}/kernels/*.c" "${root}/model/*.c")
    add_library(${target} STATIC ${sources})
    target_compile_features(${target} PUBLIC c_std_11) # a project that asks for an older standard gets this one where it links mcutrain
    target_include_directories(${target} PUBLIC "${root}/include" PRIVATE "${root}")
endfunction()
