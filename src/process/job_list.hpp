// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Jobs in order, linked through themselves: a pool's queue, what was sent to a worker, what has ended and is to be
// finished. Under the dispatcher's lock, or on the stack of whoever finishes them.
#pragma once

#include <errand/detail/process_job.hpp>

#include <cstddef>

namespace errand::detail {

class job_list {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  std::size_t size() const noexcept { return size_; }
  process_job* front() const noexcept { return first_; }
  process_job* back() const noexcept { return last_; }
  void push_back(process_job& job) noexcept {
    job.next = nullptr;
    job.previous = last_;
    (last_ != nullptr ? last_->next : first_) = &job;
    last_ = &job;
    ++size_;
  }
  void push_front(process_job& job) noexcept {
    job.previous = nullptr;
    job.next = first_;
    (first_ != nullptr ? first_->previous : last_) = &job;
    first_ = &job;
    ++size_;
  }
  void erase(process_job& job) noexcept {
    (job.previous != nullptr ? job.previous->next : first_) = job.next;
    (job.next != nullptr ? job.next->previous : last_) = job.previous;
    job.next = job.previous = nullptr;
    --size_;
  }

 private:
  process_job* first_ = nullptr;
  process_job* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace errand::detail
