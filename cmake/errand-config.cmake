# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Read by find_package(errand); defines errand::errand.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include(${CMAKE_CURRENT_LIST_DIR}/errand_targets.cmake)
