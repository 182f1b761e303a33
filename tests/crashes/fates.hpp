// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What became of a job, in one word, and of a program of its own.
#pragma once

#include <gtest/gtest.h>
#include <errand/process.hpp>

#include <signal.h>
#include <sys/resource.h>
#include <exception>
#include <string>
#include <utility>

#include "faults/own_program.hpp"

namespace errand_test {

enum class fate : unsigned char { value, died, late, stopped, thrown };

struct verdict {
  fate how = fate::value;
  int signal = 0;
  int status = 0;
  std::string text;
};

template <class T>
verdict judge(errand::future<T> f) {
  verdict v;
  try {
    static_cast<void>(f.get());
  } catch (errand::process_died const& e) {
    v = {fate::died, e.signal(), e.status(), e.what()};
  } catch (errand::timed_out const& e) {
    v = {fate::late, 0, 0, e.what()};
  } catch (errand::operation_cancelled const&) {
    v.how = fate::stopped;
  } catch (std::exception const& e) {
    v = {fate::thrown, 0, 0, e.what()};
  }
  return v;
}

/// For a job that is to die. A sanitizer's own handlers would make an exit of a death.
inline void as_without_sanitizers() {
  for (int s : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) ::signal(s, SIG_DFL);
  rlimit const none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
}

/// Of in_own_program().
inline void expect_well(int status) {
  if (status == refused_here) GTEST_SKIP() << "the system refuses what this needs";
  EXPECT_EQ(status, 0);
}

}  // namespace errand_test
