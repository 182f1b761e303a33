// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "machine.hpp"

#include "build.hpp"

#include <fmt/format.h>

#include <fstream>

#include <sched.h>
#include <sys/utsname.h>

namespace microbench {

namespace {

std::string processor_name() {
  std::ifstream info{"/proc/cpuinfo"};
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "processor unknown";
}

#if defined(__clang__)
constexpr auto compiler = "clang " __clang_version__;
#else
constexpr auto compiler = "g++ " __VERSION__;
#endif

}  // namespace

unsigned processors() {
  cpu_set_t allowed;
  ::sched_getaffinity(0, sizeof allowed, &allowed);
  return static_cast<unsigned>(CPU_COUNT(&allowed));
}

std::string machine_text() {
  utsname system;
  ::uname(&system);
  return fmt::format("{}, {} processors, {} {}; {} {}; errand {}; rivals: {}", processor_name(), processors(),
                     system.sysname, system.release, compiler, build_flags, build_commit, build_rivals);
}

}  // namespace microbench
