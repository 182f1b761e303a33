// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "base/cpu_count.hpp"

#include "base/check.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <fcntl.h>
#include <sched.h>
#include <string>
#include <unistd.h>
#include <vector>

namespace errand::detail {

namespace {

std::string text_of(std::string const& path) {
  std::string text;
  int const fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  char buffer[512];
  for (;;) {
    auto const n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(fd);
  return text;
}

std::string_view first_word(std::string_view& text) noexcept {
  auto const begin = std::min(text.find_first_not_of(" \t\n"), text.size());
  auto const end = std::min(text.find_first_of(" \t\n", begin), text.size());
  auto const word = text.substr(begin, end - begin);
  text.remove_prefix(end);
  return word;
}

std::int64_t number(std::string_view word) noexcept {
  std::int64_t n = -1;
  auto const [end, error] = std::from_chars(word.data(), word.data() + word.size(), n);
  return error == std::errc{} && end == word.data() + word.size() ? n : -1;
}

unsigned processors_of(std::int64_t quota, std::int64_t period) noexcept {
  if (quota <= 0 || period <= 0) return 0;
  return static_cast<unsigned>(std::min<std::int64_t>(quota / period + (quota % period != 0 ? 1 : 0), most_workers));
}

unsigned affinity() {
  // The kernel's mask may be longer than cpu_set_t: ask with a larger one until it fits.
  for (std::size_t words = 16; words <= 4096; words *= 2) {
    std::vector<unsigned long> mask(words);
    if (::sched_getaffinity(0, words * sizeof(unsigned long), reinterpret_cast<cpu_set_t*>(mask.data())) == 0) {
      unsigned count = 0;
      for (auto const w : mask) count += static_cast<unsigned>(__builtin_popcountl(w));
      return std::max(count, 1U);
    }
    if (errno != EINVAL) break;
  }
  auto const online = ::sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? static_cast<unsigned>(online) : 1;
}

// The smallest quota on the way from the process's own group to the root. Paths outside the container's view do not
// exist below its mount; the mount's root is then the group itself.
unsigned cgroup_quota() {
  unsigned least = 0;
  auto const take = [&least](unsigned quota) {
    if (quota != 0 && (least == 0 || quota < least)) least = quota;
  };
  std::string const groups = text_of("/proc/self/cgroup");
  std::string_view rest = groups;
  while (!rest.empty()) {
    auto const line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    auto const second = line.find(':');
    auto const third = line.find(':', second + 1);
    if (second == std::string_view::npos || third == std::string_view::npos) continue;
    auto const controllers = line.substr(second + 1, third - second - 1);
    bool const unified = controllers.empty();
    if (!unified && (',' + std::string{controllers} + ',').find(",cpu,") == std::string::npos) continue;
    std::string const mount = unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu";
    std::string path{line.substr(third + 1)};
    for (;;) {
      while (!path.empty() && path.back() == '/') path.pop_back();
      auto const at = mount + path;
      take(unified ? quota_of(text_of(at + "/cpu.max"))
                   : quota_of(text_of(at + "/cpu.cfs_quota_us"), text_of(at + "/cpu.cfs_period_us")));
      if (path.empty()) break;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  return least;
}

}  // namespace

unsigned quota_of(std::string_view cpu_max) noexcept {
  auto const quota = first_word(cpu_max);  // "max" is no number, and no limit
  return processors_of(number(quota), number(first_word(cpu_max)));
}

unsigned quota_of(std::string_view quota_us, std::string_view period_us) noexcept {
  return processors_of(number(first_word(quota_us)), number(first_word(period_us)));
}

unsigned usable_processors() {
  unsigned const allowed = std::min(affinity(), most_workers);
  unsigned const quota = cgroup_quota();
  return quota == 0 ? allowed : std::min(allowed, quota);
}

unsigned limit_from_environment(char const* name, unsigned least, unsigned otherwise) {
  char const* const text = std::getenv(name);
  if (text == nullptr || *text == '\0') return otherwise;
  auto const n = number(text);
  if (n >= least && n <= most_workers) return static_cast<unsigned>(n);
  say(std::string{name} + "=" + text + " is ignored: it must be a number from " + std::to_string(least) + " to " +
      std::to_string(most_workers));
  return otherwise;
}

unsigned default_worker_count() {
  unsigned const chosen = limit_from_environment("ERRAND_THREADS", 1, 0);
  return chosen != 0 ? chosen : usable_processors();
}

}  // namespace errand::detail
