// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For the tests of this module: a job with a thread that waits for it, and a count of what the module may leave behind.
#pragma once

#include <dirent.h>
#include <errand/detail/process_function.hpp>
#include <errand/detail/process_job.hpp>

#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace errand::detail {

template <class R, class F, class... Args>
struct test_job : process_job {
  test_job(F f, Args... args) {
    entry = &run_process_call<R, F, Args...>;
    start_dispatcher();
    lay_out_call<F>(*this, f, std::move(args)...);
    receive = [](process_job& job, process_message const& reply) {
      if constexpr (!std::is_void_v<R>) static_cast<test_job&>(job).result = read_reply<R>(reply);
    };
    if constexpr (!std::is_void_v<R>) receives_unlocked = !wire<R>::ours;
    finished = [](process_job* job) noexcept {
      auto& self = *static_cast<test_job*>(job);
      std::lock_guard const hold{self.lock};
      self.over = true;
      self.told.notify_all();  // under the lock: the waiter frees the job
    };
  }
  void wait() {
    std::unique_lock hold{lock};
    told.wait(hold, [&] { return over; });
  }
  std::optional<std::conditional_t<std::is_void_v<R>, int, R>> result;
  std::mutex lock;
  std::condition_variable told;
  bool over = false;
};

template <class R>
class test_future {
 public:
  template <class Job>
  explicit test_future(std::shared_ptr<Job> job)
      : job_{job}, wait_{[](process_job& j) { static_cast<Job&>(j).wait(); }}, take_{[](process_job& j) -> R {
          if constexpr (!std::is_void_v<R>) return std::move(*static_cast<Job&>(j).result);
        }} {}
  R get() {
    if (end() == process_job_end::stopped) throw std::logic_error{"stopped"};
    if (job_->error) std::rethrow_exception(job_->error);
    return take_(*job_);
  }
  process_job_end end() {
    wait_(*job_);
    return job_->end;
  }
  void stop() { stop_process_job(*job_); }

 private:
  std::shared_ptr<process_job> job_;
  void (*wait_)(process_job&);
  R (*take_)(process_job&);
};

template <class F, class... Args>
auto test_call(F f, Args... args) {
  using R = std::invoke_result_t<F, Args...>;
  auto job = std::make_shared<test_job<R, F, Args...>>(f, std::move(args)...);
  prepare_process_job(*job);
  submit_process_job(*job);
  return test_future<R>{std::move(job)};
}

inline std::vector<std::pair<char*, char*>> mappings_of_shared_file() {
  std::vector<std::pair<char*, char*>> found;
  std::ifstream maps{"/proc/self/maps"};
  for (std::string line; std::getline(maps, line);) {
    if (line.find("/memfd:errand") == std::string::npos) continue;
    void* begin = nullptr;
    void* end = nullptr;
    if (std::sscanf(line.c_str(), "%p-%p", &begin, &end) == 2)
      found.emplace_back(static_cast<char*>(begin), static_cast<char*>(end));
  }
  return found;
}

struct resources {
  int descriptors = 0;
  int mappings = 0;
  int children = 0;
  friend bool operator==(resources const&, resources const&) = default;
};

inline resources resources_now() {
  resources now;
  if (DIR* const open = ::opendir("/proc/self/fd")) {
    while (dirent const* const entry = ::readdir(open))
      if (entry->d_name[0] != '.') ++now.descriptors;
    ::closedir(open);
    --now.descriptors;  // the directory itself
  }
  now.mappings = static_cast<int>(mappings_of_shared_file().size());
  std::ifstream children{"/proc/thread-self/children"};
  for (int pid = 0; children >> pid;) ++now.children;
  return now;
}

}  // namespace errand::detail
