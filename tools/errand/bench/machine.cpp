// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/machine.hpp"

#include "bench/version.hpp"

#include <fmt/format.h>

#include <sched.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include <fstream>

namespace bench {
namespace {

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    auto const colon = line.find(": ");
    if (colon != std::string::npos && line.starts_with("model name")) return line.substr(colon + 2);
  }
  utsname kernel{};
  return uname(&kernel) == 0 ? kernel.machine : "unknown";
}

std::string kernel_name() {
  utsname kernel{};
  return uname(&kernel) == 0 ? fmt::format("{} {}", kernel.sysname, kernel.release) : "unknown";
}

std::string memory_size() {
  struct sysinfo about {};
  if (sysinfo(&about) != 0) return "unknown";
  return fmt::format("{:.1f} GiB", static_cast<double>(about.totalram) * about.mem_unit / (1 << 30));
}

}  // namespace

std::vector<std::pair<std::string, std::string>> describe_machine() {
  return {
      {"processor", processor_name()},  {"cores", std::to_string(available_cores())},
      {"memory", memory_size()},        {"kernel", kernel_name()},
      {"compiler", compiler_and_build}, {"errand", fmt::format("{} ({})", version, commit)},
  };
}

int available_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
  return CPU_COUNT(&allowed);
}

}  // namespace bench
