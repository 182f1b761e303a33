// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The Python that CMake has found, and the text of benchmarks/python/processes.py: the program needs no source tree.
#pragma once

namespace microbench {

extern char const* const python_interpreter;
extern char const* const python_script;

}  // namespace microbench
