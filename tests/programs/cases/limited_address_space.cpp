// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Address space for a number of stacks, given as argument in MiB, beyond what the program has when it begins. So many tasks
// park, and the heap still has room; then as many more as there can be, until one fails by std::bad_alloc.
#include <errand/task.hpp>

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

}  // namespace

int main(int, char** arguments) {
  auto const room = static_cast<std::size_t>(std::atoi(arguments[1])) * mebibyte;
  ::setenv("ERRAND_THREADS", "1", 1);  // so that a task which runs after another one knows that that one waits, or has ended
  errand::async({.timeout = 24h}, [] { errand::this_task::sleep_for(1ms); }).get();  // all threads are there
  auto const in_use = address_space_in_use();
  rlimit const limit{in_use + room, in_use + room};
  if (::setrlimit(RLIMIT_AS, &limit) != 0) return 1;

  // Half of the room for stacks of a quarter of a mebibyte each; a quarter of it for the heap, at the same time.
  std::vector<errand::future<void>> tasks;
  auto const park_one = [&tasks] {
    tasks.push_back(errand::async([] { errand::this_task::sleep_for(24h); }));
    errand::async([] {}).get();
    return !tasks.back().ready();
  };
  for (std::size_t i = 0; i < room / mebibyte * 2; ++i)
    if (!park_one()) return 2;
  std::unique_ptr<char[]> heap{new (std::nothrow) char[room / 4]};
  if (heap == nullptr) return 3;

  // And to the end of it.
  while (park_one()) {
  }
  heap.reset();
  try {
    tasks.back().get();
    return 4;
  } catch (std::bad_alloc const&) {
  }
  tasks.pop_back();
  for (auto& t : tasks)
    if (t.ready()) return 5;
  std::fputs("a wait failed by std::bad_alloc, and only that one", stderr);
  return 0;
}
