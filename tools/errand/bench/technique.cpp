// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/technique.hpp"

namespace bench {

std::string_view id_of(family f) {
  switch (f) {
    case family::control:
      return "control";
    case family::errand:
      return "errand";
    case family::rival:
      return "rivals";
    case family::python:
      return "python";
  }
  return {};
}

technique_list all_techniques() {
  technique_list list;
  add_control_rows(list.rows);
  add_errand_rows(list.rows);
  add_std_rows(list.rows);
  add_fork_rows(list.rows);
#if ERRAND_HAS_ASIO
  add_asio_rows(list.rows);
#else
  list.absent.emplace_back("Boost.Asio");
#endif
#if ERRAND_HAS_TBB
  add_tbb_rows(list.rows);
#else
  list.absent.emplace_back("oneTBB");
#endif
#if ERRAND_HAS_OPENMP
  add_openmp_rows(list.rows);
#else
  list.absent.emplace_back("OpenMP");
#endif
  list.python_version = add_python_rows(list.rows);
  if (list.python_version.empty()) list.absent.emplace_back("python3");
  return list;
}

}  // namespace bench
