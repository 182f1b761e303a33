// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A large result through errand.
#include "process_result.hpp"

#include <errand/process.hpp>

#include <string>

namespace microbench {

namespace {

template <class Bytes>
Bytes make_result(std::size_t bytes, std::uint64_t salt) {
  Bytes made(bytes, char{});
  finish_result(made.data(), bytes, salt);
  return made;
}

template <class Bytes>
repetition result_as(settings const& s) {
  return [s] {
    return results_taken(s, [](std::size_t bytes, std::uint64_t salt) {
      return errand::async(errand::processes, &make_result<Bytes>, bytes, salt).get();
    });
  };
}

add const string{"process-result", role::ours, "std::string", &result_as<std::string>, place::own_process};

}  // namespace

}  // namespace microbench
