// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What CMake knew when it configured this program; build.cpp.in is filled in with it.
#pragma once

namespace microbench {

extern char const* const build_flags;
extern char const* const build_commit;
extern char const* const build_rivals;

}  // namespace microbench
