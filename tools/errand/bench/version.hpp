// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What was built, from what and how; the values are written by CMake when it configures
// (version.cpp.in). Shown by --version and beside every table.
#pragma once

namespace bench {

extern char const* const version;
extern char const* const commit;
extern char const* const compiler_and_build;

}  // namespace bench
