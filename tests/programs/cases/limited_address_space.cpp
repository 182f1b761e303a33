// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A program with as much address space, beyond what it has when it begins, as its argument says in MiB. Stacks take a small
// part of it at first; many tasks can park while the heap has room; then more, until one fails by std::bad_alloc.
#include <errand/task.hpp>

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <new>
#include <vector>

namespace {

using namespace std::chrono_literals;

constexpr std::size_t mebibyte = 1 << 20;

std::size_t address_space_in_use() {
  std::size_t pages = 0;
  std::ifstream{"/proc/self/statm"} >> pages;
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

// Whether the heap has so many bytes.
bool fits(std::size_t bytes) { return std::unique_ptr<char[]>{new (std::nothrow) char[bytes]} != nullptr; }

}  // namespace

int main(int, char** arguments) {
  ::setenv("ERRAND_THREADS", "1", 1);  // so that a task which runs after another one knows that that one waits, or has ended
  ::mallopt(M_ARENA_MAX, 1);           // the C library's reserves for each thread would take most of it
  auto const room = static_cast<std::size_t>(std::atoi(arguments[1])) * mebibyte;
  auto const limit = address_space_in_use() + room;
  rlimit const soft_and_hard{limit, limit};
  if (::setrlimit(RLIMIT_AS, &soft_and_hard) != 0) return 1;

  std::vector<errand::future<void>> tasks;
  tasks.reserve(100'000);
  auto const park_one = [&tasks] {
    tasks.push_back(errand::async([] { errand::this_task::sleep_for(24h); }));
    errand::async([] {}).get();
    return !tasks.back().ready();
  };
  if (!park_one()) return 2;
  auto const left = limit - address_space_in_use();
  if (left < room / 3 || !fits(left * 3 / 4)) return 3;  // three threads of the system's size are there, and a few stacks
  for (auto many = left / 2 / (256 * 1024); many > 0; --many)
    if (!park_one()) return 4;
  if (!fits(left / 4)) return 5;

  while (park_one()) {  // to the end
  }
  try {
    tasks.back().get();
    return 6;
  } catch (std::bad_alloc const&) {
  }
  tasks.pop_back();
  for (auto& t : tasks)
    if (t.ready()) return 7;
  std::fputs("a wait failed by std::bad_alloc, and only that one", stderr);
  return 0;
}
