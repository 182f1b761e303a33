// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a function is called between processes. The workers are forks of this process as it was when the zygote began, so
// a function is found there at the same offset of the same module, if that module was loaded by then. The list is taken
// before the fork: parent and workers have the same one. The parent checks against it, the workers look up in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace errand::detail {

struct function_place {
  std::uint32_t module;  // 0: no function
  std::uint64_t offset;
};

class module_list {
 public:
  // The modules that are loaded now. Throws std::bad_alloc.
  static module_list of_this_process();

  // Throws std::runtime_error, which names the module, if the workers have no such function.
  function_place find(void (*function)()) const;
  // Null for a place that no list of this process has given out.
  void (*at(function_place place) const noexcept)();

 private:
  struct module {
    std::string name;
    std::uintptr_t base;
    std::uintptr_t code_begin;
    std::uintptr_t code_end;
  };
  std::vector<module> modules_;  // number n stands at n - 1; the program itself is the first
};

}  // namespace errand::detail
