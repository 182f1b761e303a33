// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/death.hpp"

#include <signal.h>
#include <string.h>

#include <cstdio>
#include <errand/detail/process_job.hpp>
#include <errand/process.hpp>
#include <string>

namespace errand::detail {

namespace {

std::string in_words(int signal, int status) {
  if (signal == 0) return "exited with status " + std::to_string(status);
  char const* const description = ::sigdescr_np(signal);
  return "killed by signal " + std::to_string(signal) + " (" + (description != nullptr ? description : "unknown") + ")";
}

std::string described(process_job const& job) {
  std::string text = "the task";
  if (job.name != nullptr && *job.name != '\0') text += std::string(" \"") + job.name + '"';
  if (job.file != nullptr && *job.file != '\0')
    text += std::string(" started at ") + job.file + ':' + std::to_string(job.line);
  return text;
}

}  // namespace

std::exception_ptr death_of(process_job const& job, int signal, int status, char const* note) {
  std::string text = "errand: " + described(job) + " lost its worker process: " + in_words(signal, status);
  if (note != nullptr) text += std::string("; ") + note;
  return std::make_exception_ptr(process_died(text, signal, status));
}

std::exception_ptr overrun_of(process_job const& job, std::chrono::nanoseconds limit) {
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%g", std::chrono::duration<double>(limit).count());
  return std::make_exception_ptr(timed_out("errand: " + described(job) + " ran longer than the " + seconds +
                                           " s that its pool of processes allows a job, and its worker was killed"));
}

std::exception_ptr death_of_newborns(int signal, int status) {
  return std::make_exception_ptr(process_died(
      "errand: worker processes die before they can begin a job: " + in_words(signal, status), signal, status));
}

std::exception_ptr death_of_zygote() {
  return std::make_exception_ptr(process_died(
      "errand: the zygote, which forks the worker processes, has died; no function can run in another process any more",
      SIGKILL, 0));
}

}  // namespace errand::detail
