# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# What only errand's own developers want: warnings, ccache, programs gathered at the top of the
# build directory. All of it is inert when errand is part of somebody else's project.
#
# Warnings become errors by CMAKE_COMPILE_WARNING_AS_ERROR, which our presets set; so a packager
# with next year's compiler is warned, and not stopped.

if(PROJECT_IS_TOP_LEVEL)
    set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
    set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})

    if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
        set(CMAKE_BUILD_TYPE Release)
    endif()

    find_program(ERRAND_CCACHE ccache)
    mark_as_advanced(ERRAND_CCACHE)
    if(ERRAND_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
        set(CMAKE_CXX_COMPILER_LAUNCHER ${ERRAND_CCACHE})
    endif()
endif()

# Holds `target` to the house's warnings. Called for the library and for every program of ours.
function(errand_developer_target target)
    if(PROJECT_IS_TOP_LEVEL)
        target_compile_options(${target} PRIVATE
            $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wconversion>)
        set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
    endif()
endfunction()
