// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/modules.hpp"

#include <link.h>

#include <algorithm>
#include <stdexcept>

namespace errand::detail {

namespace {

// From the first byte of code to the last; a module without code is none of ours.
struct code_range {
  std::uintptr_t begin = UINTPTR_MAX;
  std::uintptr_t end = 0;
};

code_range code_of(dl_phdr_info const& info) {
  code_range range;
  for (unsigned i = 0; i < info.dlpi_phnum; ++i) {
    auto const& segment = info.dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) continue;
    std::uintptr_t const begin = info.dlpi_addr + segment.p_vaddr;
    range.begin = std::min(range.begin, begin);
    range.end = std::max(range.end, begin + segment.p_memsz);
  }
  return range;
}

// Which module holds `address` today.
struct loaded_module {
  std::uintptr_t address;
  std::uintptr_t base = 0;
  char const* name = nullptr;
};

loaded_module module_today(std::uintptr_t address) {
  loaded_module found{address};
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* data) {
        auto& wanted = *static_cast<loaded_module*>(data);
        code_range const range = code_of(*info);
        if (wanted.address < range.begin || wanted.address >= range.end) return 0;
        wanted.base = info->dlpi_addr;
        wanted.name = info->dlpi_name;
        return 1;
      },
      &found);
  return found;
}

}  // namespace

module_list module_list::of_this_process() {
  module_list list;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* data) {
        code_range const range = code_of(*info);
        if (range.begin < range.end)
          static_cast<module_list*>(data)->modules_.push_back(
              {info->dlpi_name, info->dlpi_addr, range.begin, range.end});
        return 0;
      },
      &list);
  return list;
}

function_place module_list::find(void (*function)()) const {
  auto const address = reinterpret_cast<std::uintptr_t>(function);
  for (std::size_t i = 0; i < modules_.size(); ++i) {
    auto const& m = modules_[i];
    if (address < m.code_begin || address >= m.code_end) continue;
    // The program itself stays. Any other module may have been unloaded meanwhile, and another put in its place.
    if (i != 0) {
      loaded_module const today = module_today(address);
      if (today.name == nullptr || today.base != m.base || m.name != today.name) break;
    }
    return {static_cast<std::uint32_t>(i + 1), address - m.base};
  }
  loaded_module const today = module_today(address);
  throw std::runtime_error(std::string("errand: a function cannot run in a worker process: ") +
                           (today.name != nullptr
                                ? std::string("its module \"") + today.name +
                                      "\" was loaded after the workers' zygote was forked; load it before, or put "
                                      "errand::process_support further down"
                                : std::string("it lies in no loaded module (was it compiled at run time?)")));
}

void (*module_list::at(function_place place) const noexcept)() {
  if (place.module == 0 || place.module > modules_.size()) return nullptr;
  return reinterpret_cast<void (*)()>(modules_[place.module - 1].base + place.offset);
}

}  // namespace errand::detail
