// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "own_process.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <system_error>

extern char** environ;

namespace microbench {

namespace {

[[noreturn]] void throw_system(int error, char const* what) {
  throw std::system_error{error, std::generic_category(), what};
}

// Starts a program with `arguments`, the first its own name, and returns all that it writes to its standard output, and how
// it ended.
std::string output_of(char const* program, std::vector<std::string> arguments, int& status) {
  int ends[2];
  if (::pipe(ends) != 0) throw_system(errno, "pipe for a repetition in its own process");
  ::posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_addclose(&actions, ends[0]);
  ::posix_spawn_file_actions_addclose(&actions, ends[1]);
  std::vector<char*> argv;
  for (auto& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  ::pid_t child = 0;
  int const error = ::posix_spawn(&child, program, &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (error != 0) {
    ::close(ends[0]);
    throw_system(error, ("starting " + std::string{program} + " for a repetition in its own process").c_str());
  }
  std::string all;
  char buffer[4096];
  for (;;) {
    ::ssize_t const got = ::read(ends[0], buffer, sizeof buffer);
    if (got > 0) all.append(buffer, static_cast<std::size_t>(got));
    if (got == 0 || (got < 0 && errno != EINTR)) break;
  }
  ::close(ends[0]);
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return all;
}

// The text between two programs: the cost, then a line "value name" for each fact; or "wrong" and why.
sample sample_in(std::string const& text, int status) {
  std::istringstream lines{text};
  std::string line;
  std::getline(lines, line);
  if (WIFSIGNALED(status)) throw wrong_result{"its process died of signal " + std::to_string(WTERMSIG(status))};
  if (line == "wrong" && std::getline(lines, line)) throw wrong_result{line};
  if (status != 0) throw wrong_result{"its process ended with status " + std::to_string(WEXITSTATUS(status))};
  sample s;
  char* end = nullptr;
  s.cost = std::strtod(line.c_str(), &end);
  if (end == line.c_str() || *end != '\0') throw wrong_result{"its process printed no cost, but \"" + line + '"'};
  while (std::getline(lines, line)) {
    char* name = nullptr;
    double const value = std::strtod(line.c_str(), &name);
    if (*name == ' ') s.facts.push_back({name + 1, value});
  }
  return s;
}

}  // namespace

sample repeat_in_own_process(subject const& who, settings const& how) {
  std::vector<std::string> arguments{"errand-microbench",        "--repeat", who.row, who.name, "--workers",
                                     std::to_string(how.workers)};
  if (!how.scratch.empty()) {
    arguments.insert(arguments.end(), {"--scratch", how.scratch, "--size", std::to_string(how.file_bytes)});
  }
  if (how.quick) arguments.emplace_back("--quick");
  int status = 0;
  auto const text = output_of("/proc/self/exe", std::move(arguments), status);
  return sample_in(text, status);
}

sample repeat_by_command(std::string const& command) {
  int status = 0;
  auto const text = output_of("/bin/sh", {"sh", "-c", command}, status);
  return sample_in(text, status);
}

int print_repetition(repetition const& once) {
  try {
    sample const got = once();
    std::printf("%.17g\n", got.cost);
    for (auto const& f : got.facts) std::printf("%.17g %s\n", f.value, f.name.c_str());
    return 0;
  } catch (std::exception const& e) {
    std::printf("wrong\n%s\n", e.what());
    return 2;
  }
}

int repeat_for_parent(std::string const& row, std::string const& name, settings const& how) {
  for (auto const* s : subjects_of(row))
    if (s->name == name) return print_repetition([&] { return s->begin(how)(); });
  std::fprintf(stderr, "errand-microbench: row %s has no %s\n", row.c_str(), name.c_str());
  return 2;
}

}  // namespace microbench
