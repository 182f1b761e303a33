// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The processes below the program, as /proc knows them: zygotes and workers.
#pragma once

#include <signal.h>
#include <sys/types.h>
#include <unistd.h>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace errand_test {

struct process_line {
  char state = 'X';
  pid_t parent = 0;
};
inline process_line line_of(pid_t process) {
  std::ifstream stat{"/proc/" + std::to_string(process) + "/stat"};
  std::string ignored;
  process_line line;
  stat >> ignored >> ignored >> line.state >> line.parent;
  return line;
}
inline bool is_dead(pid_t process) { return std::string{"ZX"}.find(line_of(process).state) != std::string::npos; }
inline bool is_zygote(pid_t process) {
  std::ifstream comm{"/proc/" + std::to_string(process) + "/comm"};
  std::string name;
  return std::getline(comm, name) && name == "errand-zygote" && !is_dead(process);
}
inline pid_t parent_of(pid_t process) { return line_of(process).parent; }
// Until it is no more than a number that nobody has asked for.
inline void kill_now(pid_t process) {
  ::kill(process, SIGKILL);
  while (!is_dead(process)) std::this_thread::yield();
}
inline void wait_until_gone(pid_t pid) {
  while (::kill(pid, 0) == 0) std::this_thread::yield();
}

/// All below that process a moment ago, parents before their children.
inline std::vector<pid_t> descendants_of(pid_t process) {
  std::vector<pid_t> found;
  std::error_code gone;
  auto const tasks = "/proc/" + std::to_string(process) + "/task";
  for (std::filesystem::directory_iterator task{tasks, gone}, end; !gone && task != end; task.increment(gone)) {
    std::ifstream children{task->path() / "children"};
    for (pid_t child = 0; children >> child;) found.push_back(child);
  }
  for (std::size_t i = 0, own = found.size(); i < own; ++i) {
    auto const below = descendants_of(found[i]);
    found.insert(found.end(), below.begin(), below.end());
  }
  return found;
}

}  // namespace errand_test
