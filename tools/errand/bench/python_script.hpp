// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The text of benchmarks/python/rows.py. CMake puts it into the program (python_script.cpp.in),
// so that the command needs no source tree beside it.
#pragma once

namespace bench {

extern char const* const python_script;

}  // namespace bench
