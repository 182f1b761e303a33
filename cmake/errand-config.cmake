# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Read by find_package(errand); defines errand::errand.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
# Installed if errand is a static library that uses it: then the program must be linked with it.
if(EXISTS ${CMAKE_CURRENT_LIST_DIR}/Finduring.cmake)
    list(APPEND CMAKE_MODULE_PATH ${CMAKE_CURRENT_LIST_DIR})
    find_dependency(uring MODULE)
    list(POP_BACK CMAKE_MODULE_PATH)
endif()
include(${CMAKE_CURRENT_LIST_DIR}/errand_targets.cmake)
