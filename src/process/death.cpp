// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/death.hpp"

#include <signal.h>
#include <string.h>

#include <algorithm>
#include <cstdio>
#include <errand/detail/process_job.hpp>
#include <errand/process.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace errand::detail {

namespace {

// So much of the last words stands in what(): a sanitizer's report from its summary on.
constexpr std::size_t most_quoted = 2048;

std::string in_words(zygote::news const& death) {
  if (death.signal == 0) return "exited with status " + std::to_string(death.status);
  char const* const description = ::sigdescr_np(death.signal);
  return "killed by signal " + std::to_string(death.signal) + " (" + (description != nullptr ? description : "unknown") + ")";
}

// The last lines of it, whole ones if they are not too long, without the white space at the end.
std::string_view quoted(std::string_view words) {
  words = words.substr(0, words.find_last_not_of(" \t\r\n") + 1);
  if (words.size() > most_quoted) {
    words.remove_prefix(words.size() - most_quoted);
    if (auto const line = words.find('\n'); line != std::string_view::npos) words.remove_prefix(line + 1);
  }
  return words.substr(std::min(words.find_first_not_of("\r\n"), words.size()));
}

std::exception_ptr process_death(std::string text, zygote::news const& death) {
  if (auto const words = quoted(death.last_words); !words.empty())
    text.append("; the last lines on its stderr:\n").append(words);
  return std::make_exception_ptr(process_died(text, death.signal, death.status, death.last_words));
}

std::string described(process_job const& job) {
  std::string text = "the task";
  if (job.name != nullptr && *job.name != '\0') text += std::string(" \"") + job.name + '"';
  if (job.file != nullptr && *job.file != '\0')
    text += std::string(" started at ") + job.file + ':' + std::to_string(job.line);
  return text;
}

}  // namespace

std::exception_ptr death_of(process_job const& job, zygote::news const& death, char const* note) {
  std::string text = "errand: " + described(job) + " lost its worker process: " + in_words(death);
  if (note != nullptr) text += std::string("; ") + note;
  if (death.zygote_died) text += "; the zygote, which forks the worker processes, has died, and its workers with it";
  return process_death(std::move(text), death);
}

std::exception_ptr overrun_of(process_job const& job, std::chrono::nanoseconds limit) {
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%g", std::chrono::duration<double>(limit).count());
  return std::make_exception_ptr(timed_out("errand: " + described(job) + " ran longer than the " + seconds +
                                           " s that its pool of processes allows a job, and its worker was killed"));
}

std::exception_ptr death_of_newborns(zygote::news const& last) {
  return process_death("errand: worker processes die before they can begin a job: " + in_words(last), last);
}

std::exception_ptr death_of_zygote() {
  return std::make_exception_ptr(process_died(
      "errand: the zygote, which forks the worker processes, has died, and its guardian with it; no function can run in another "
      "process any more",
      SIGKILL, 0));
}

}  // namespace errand::detail
