# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# find_package(uring): liburing as uring::uring. The archive is preferred, so that a program needs nothing at run time that its
# own machine may lack; unless errand itself is a shared library, into which an archive need not fit. Installed with errand.
find_path(URING_INCLUDE_DIR liburing.h)
if(BUILD_SHARED_LIBS)
    find_library(URING_SHARED_LIBRARY uring)
    set(uring_library URING_SHARED_LIBRARY)
else()
    find_library(URING_LIBRARY NAMES liburing.a uring)
    set(uring_library URING_LIBRARY)
endif()
mark_as_advanced(URING_INCLUDE_DIR URING_LIBRARY URING_SHARED_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(uring REQUIRED_VARS ${uring_library} URING_INCLUDE_DIR)
if(uring_FOUND AND NOT TARGET uring::uring)
    add_library(uring::uring UNKNOWN IMPORTED)
    set_target_properties(uring::uring PROPERTIES
        IMPORTED_LOCATION ${${uring_library}}
        INTERFACE_INCLUDE_DIRECTORIES ${URING_INCLUDE_DIR})
endif()
