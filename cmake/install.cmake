# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# `cmake --install`: the library, its public headers, and the package that find_package(errand) reads.
# A part of somebody else's project installs errand only if that project asks (ERRAND_INSTALL).
option(ERRAND_INSTALL "Install errand's library, headers and package" ${PROJECT_IS_TOP_LEVEL})
if(NOT ERRAND_INSTALL)
    return()
endif()

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(errand_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/errand)

install(TARGETS errand EXPORT errand_targets FILE_SET HEADERS)
install(EXPORT errand_targets
    FILE errand_targets.cmake NAMESPACE errand:: DESTINATION ${errand_package_dir})

# Before 1.0 a new minor version may change the interface, so it does not satisfy an old request.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/errand-config-version.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/errand-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/errand-config-version.cmake
    DESTINATION ${errand_package_dir})
get_target_property(errand_type errand TYPE)
if(ERRAND_WITH_URING AND uring_FOUND AND errand_type STREQUAL STATIC_LIBRARY)
    install(FILES ${CMAKE_CURRENT_LIST_DIR}/Finduring.cmake DESTINATION ${errand_package_dir})
endif()
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
