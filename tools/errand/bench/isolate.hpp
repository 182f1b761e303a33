// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every measurement runs in a fresh child process. The command itself stays single-threaded and
// never touches errand or a rival, so each row begins in a clean process: no other row's threads
// spin beside it, errand's processes find no thread before them, a crash costs one row its
// measurement and not the command its life, and an interrupt ends everything by one kill.
#pragma once

#include <functional>
#include <string>
#include <type_traits>

namespace bench {

// Runs `work` in a child process and returns the bytes it returned. A failure thrown there is
// rethrown here; a child that dies otherwise is a failure that says how it died.
std::string run_isolated(std::function<std::string()> const& work);

// The same for work whose result is a plain struct.
template <class Work>
auto run_isolated_as(Work const& work) {
  using result = std::invoke_result_t<Work const&>;
  static_assert(std::is_trivially_copyable_v<result>);
  std::string const bytes = run_isolated([&] {
    result const r = work();
    return std::string(reinterpret_cast<char const*>(&r), sizeof r);
  });
  result r;
  bytes.copy(reinterpret_cast<char*>(&r), sizeof r);
  return r;
}

}  // namespace bench
