// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Python's worker processes: concurrent.futures.ProcessPoolExecutor and multiprocessing.Pool, in an interpreter of their own
// for each repetition, which takes the time.
#include "rivals/python_script.hpp"

#include "own_process.hpp"

#include "bench/shell.hpp"

namespace microbench {

namespace {

template <std::size_t Jobs>
repetition python(settings const& s, char const* verb) {
  auto const command = bench::quoted_for_shell(python_interpreter) + " -c " + bench::quoted_for_shell(python_script) + " " +
                       verb + " " + std::to_string(s.times(Jobs)) + " " + std::to_string(s.workers);
  return [=] { return repeat_by_command(command); };
}

constexpr auto executor = "Python, ProcessPoolExecutor";

add const hot{"process-hot", role::rival, executor, [](settings const& s) { return python<2000>(s, "hot"); }};
add const many{"process-map", role::rival, "Python, multiprocessing.Pool.map",
               [](settings const& s) { return python<100'000>(s, "map"); }};
add const ready{"process-ready", role::rival, executor, [](settings const& s) { return python<1>(s, "ready"); }};

}  // namespace

}  // namespace microbench
