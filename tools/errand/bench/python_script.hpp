// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The texts of benchmarks/python/rows.py, text.py and large.py. CMake puts them into the program (python_script.cpp.in),
// so that the command needs no source tree beside it.
#pragma once

namespace bench {

extern char const* const python_script;
extern char const* const python_text_script;
extern char const* const python_large_script;

}  // namespace bench
